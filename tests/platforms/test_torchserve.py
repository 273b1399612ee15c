"""TorchServe: an archive is built, started, called, compared, changed under load and stopped, for real."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shifted import shifted

from weigh.cli import main
from weigh.model.source import open_source
from weigh.serve.platform import Served, _v2
from weigh.serve.platform._bench import PlatformBench
from weigh.serve.platform._load import Generator
from weigh.serve.platform._resident import family
from weigh.serve.platform.torchserve import Started, TorchServe


@pytest.fixture(scope="module", autouse=True)
def _java(need) -> None:
    need("torchserve")
    if shutil.which("java") is None:
        pytest.skip("needs Java 11 or newer: apt-get install default-jre-headless")


@pytest.fixture(scope="module")
def running(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    made = TorchServe(workers=2).start(served, tmp_path_factory.mktemp("torchserve"))
    assert isinstance(made, Started)
    yield made
    made.close()


def test_answers_are_those_of_the_model_run_directly(bench: PlatformBench, running: Started) -> None:
    assert bench._parity(running, "torchserve") < 1e-6
    assert 0.5 < running.started < 120 and running.memory_mb() > 100


def test_two_versions_stand_side_by_side_and_the_default_changes_under_load(
    bench: PlatformBench, running: Started, tmp_path: Path
) -> None:
    other, feed, load = shifted(bench.task.model, tmp_path / "other.onnx"), bench.feed(3), Generator()
    direct = bench.direct(feed)[0]
    load.start(running.url, [running.request(feed)], 4, keep=1_000_000)
    running.swap(replace(bench.source, path=other))
    seen = load.stop()
    load.close()
    assert seen.failed == 0 and len(seen.status) > 20
    apart = {round(float(running.answer(body)[0, 0] - direct[0]), 3) for body in seen.bodies.values()}
    assert apart <= {0.0, 1.0}, "every answer is the old version's or the new one's"
    assert running.versions() == {"1.0": False, "2.0": True}
    by_version = [_v2.answer(_v2.ask(f"{running._infer}/{version}", _v2.body(feed)))[0] for version in ("1.0", "2.0")]
    assert by_version[0] == pytest.approx(direct, abs=1e-5) and by_version[1] == pytest.approx(direct + 1, abs=1e-5)
    running.swap(bench.source)
    assert set(running.versions()) == {"2.0", "3.0"} and bench._parity(running, "torchserve") < 1e-6


def test_it_ends_with_all_that_it_started(served: Served, tmp_path: Path) -> None:
    made = TorchServe().start(served, tmp_path)
    members = family(made.roots()[0])
    assert len(members) >= 3, "the launcher, Java, and a worker"
    made.close()
    assert not any(one.is_running() for one in members)


def test_a_torch_net_goes_as_it_is(tmp_path: Path) -> None:
    """An archive of torch.export, run by torch in TorchServe's own environment."""
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'weigh[serve]'")
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).eval()
    program = torch.export.export(net, (torch.zeros(2, 6),), dynamic_shapes=({0: torch.export.Dim("rows")},))
    torch.export.save(program, tmp_path / "net.pt2")
    source = open_source(tmp_path / "net.pt2")
    X = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    name = source.inputs[0].name if source.inputs else "x"
    made = TorchServe().start(Served(source, "net", 1, 5, 300.0, {name: X}), tmp_path)
    try:
        assert isinstance(made, Started)
        found = made.answer(_v2.ask(made._infer, _v2.body({name: X})))
    finally:
        made.close()
    with torch.inference_mode():
        assert found == pytest.approx(net(torch.from_numpy(X)).numpy(), abs=1e-6)


def test_the_verb_writes_an_archive_that_says_what_it_holds(bench: PlatformBench, tmp_path: Path) -> None:
    words = [
        "deploy",
        str(bench.task.model),
        "--platform",
        "torchserve",
        "--name",
        "toy",
        "--to",
        str(tmp_path / "out"),
    ]
    assert main(words) == 0
    with zipfile.ZipFile(tmp_path / "out" / "model_store" / "toy-1.0.mar") as archive:
        told = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
        assert (told["modelName"], told["modelVersion"]) == ("toy", "1.0")
        assert archive.read(told["serializedFile"]) == bench.task.model.read_bytes()
    assert "load_models=toy=toy-1.0.mar" in (tmp_path / "out" / "config.properties").read_text()

"""serve/platform on a small net: answers are held, changes under load are counted, what cannot run says why."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import psutil
import pytest

from weigh import catalog
from weigh.choice import Block, Unfit, UsageError
from weigh.serve.platform import Platform, PlatformTask, Running, Served, _process
from weigh.serve.platform._bench import PlatformBench, WrongOutput, spread
from weigh.serve.platform._environment import HOME, RECIPES, STAMP, _digest, home, installed, make, missing, python
from weigh.serve.platform._load import Generator
from weigh.serve.platform._planted import Relayed, write_toy
from weigh.serve.platform._process import Program
from weigh.serve.platform._resident import family, resident_mb
from weigh.serve.platform._swap import swapped
from weigh.serve.platform.kubernetes import Kubernetes
from weigh.serve.platform.local import Local
from weigh.serve.platform.tf_serving import TfServing, models_config
from weigh.serve.platform.torchserve import TorchServe


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv(HOME, raising=False)
        yield


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> PlatformTask:
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def bench(task: PlatformTask) -> Iterator[PlatformBench]:
    made = PlatformBench(task, 0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def local(bench: PlatformBench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`weigh serve` with the toy, for all tests of this file."""
    served = Served(bench.source, "weighed", 1, 1, 60.0, bench.feed(0))
    made = Local().start(served, tmp_path_factory.mktemp("local"))
    yield made
    made.close()


class Handed(Platform):
    """Hands out a server that runs already. Source: none."""

    name = "handed"

    def start(self, served: Served, folder: Path) -> Running:
        return RUNNING[0]


RUNNING: list[Running] = []


class Wrong(Running):
    """Answers of another server, changed."""

    def __init__(self, running: Running, change: Any) -> None:
        self._running, self._change, self.url = running, change, running.url

    def request(self, feed: Mapping[str, Any]) -> bytes:
        return self._running.request(feed)

    def answer(self, body: bytes) -> Any:
        return self._change(self._running.answer(body))

    def swap(self, source: Any) -> None:
        self._running.swap(source)

    def roots(self) -> list[int]:
        return self._running.roots()

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda scores: scores.round(2), r"differs from the model run directly by 0\.0\d+ of the greatest answer"),
        (lambda scores: scores[:, :3], r"answered with the shape \(16, 3\); the model gives \(16, 4\)"),
        (lambda scores: scores * np.nan, "differs from the model run directly by nan"),
    ],
    ids=["rounded", "narrow", "no number"],
)
def test_a_server_that_answers_otherwise_fails(bench: PlatformBench, local: Running, change: Any, says: str) -> None:
    with pytest.raises(WrongOutput, match=says):
        bench._parity(Wrong(local, change), "wrong")
    assert bench._parity(local, "local") == 0.0


def test_a_change_of_the_model_under_load_costs_no_request(bench: PlatformBench, local: Running) -> None:
    """The same net but for its bias is put in its place: each answer is the old or the new one, the last is new."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(bench.task.model)
    for weight in model.graph.initializer:
        if weight.name == "b2":
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(1), "b2"))
    other = bench.task.model.with_name("other.onnx")
    onnx.save(model, other)
    feed = bench.feed(1)
    old, load = bench.direct(feed), Generator()
    load.start(local.url, [local.request(feed)], 4, keep=1_000_000)
    local.swap(replace(bench.source, path=other))
    seen = load.stop()
    last = load.run(local.url, [local.request(feed)], 1, count=1, keep=1)
    load.close()
    answers = np.array([local.answer(body)[0, 0] - old[0, 0] for body in seen.bodies.values()])
    assert seen.failed == 0 and set(answers.round(3).tolist()) <= {0.0, 1.0}
    assert local.answer(last.bodies[0])[0] - old[0] == pytest.approx(np.ones(4), abs=1e-5)
    local.swap(bench.source)
    assert bench._parity(local, "local") == 0.0


def test_a_change_that_stops_the_server_is_counted(bench: PlatformBench, local: Running, tmp_path: Path) -> None:
    """It answers for a moment and then no more, as a server that is stopped to change its model."""

    @final
    class Restarted(Running):
        def __init__(self) -> None:
            self._relay = Relayed(local, 0.0, tmp_path)
            self.url = self._relay.url

        def request(self, feed: Mapping[str, Any]) -> bytes:
            return local.request(feed)

        def answer(self, body: bytes) -> Any:
            return local.answer(body)

        def swap(self, source: Any) -> None:
            time.sleep(0.5)
            self._relay._relay.close()

        def roots(self) -> list[int]:
            return []

        def close(self) -> None:
            return

    made = Restarted()
    failed, p99 = swapped(made, bench.load, [local.request(bench.feed(0))], bench.source, bench.task)
    assert failed >= bench.task.connections and p99 > 0


def test_windows_are_of_the_same_requests_and_figures_of_one_start_are_kept(
    bench: PlatformBench, local: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    RUNNING[:] = [local]
    subject = bench.prepare(Handed())
    monkeypatch.setattr("weigh.serve.platform._bench.swapped", None)
    again = bench.prepare(Handed())
    bench._all.clear()  # the server is another fixture's
    assert subject.exact == again.exact and subject.exact["swap_failed"] == 0.0
    assert 20 < subject.exact["memory"] < 400
    values = bench.trial(subject, Block(index=0, seed=5))
    assert len(values["p99"]) == bench.task.samples and values["errors"] == [0.0]  # type: ignore[arg-type]
    assert values["throughput"][0] > 50  # type: ignore[index]
    assert bench._requests(local, 5) == bench._requests(local, 5) != bench._requests(local, 99)
    curves, table = bench.exhibits({"handed": subject})
    assert curves.lines[0].x == (0.5, 0.9, 0.95, 0.99)  # type: ignore[union-attr]
    assert table.rows[0][0] == "handed"  # type: ignore[union-attr]


def test_samples_are_spread_over_a_window() -> None:
    times = [float(place) for place in range(100)]
    for seed in range(50):
        taken = spread(times, 10, seed)
        assert len(taken) == 10 and {int(one) // 10 for one in taken} == set(range(10))


def test_memory_of_a_family_counts_what_is_shared_once() -> None:
    """A child of a fork shares its parent's pages: the two take little more than one."""
    import subprocess
    import sys

    kept = "kept = bytearray(os.urandom(1)) * 60_000_000"
    code = f"import os, time; {kept}; os.fork(); print('x', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    try:
        assert len(family(process.pid)) == 2
        assert 60 < resident_mb([process.pid]) < 100
    finally:
        members = family(process.pid)
        for member in members:
            member.kill()
        process.communicate()
    assert resident_mb([process.pid]) == 0.0


def test_programs_end_with_all_that_they_started(tmp_path: Path) -> None:
    program = Program(["sh", "-c", "sleep 300 & echo up; wait"], tmp_path / "log")
    program.told("up", 10.0)
    members = family(program.pid)
    assert len(members) == 2
    program.close()
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in members)


def test_a_program_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    ends = Program(["sh", "-c", "echo no license >&2; exit 3"], tmp_path / "ends", name="Thing")
    with pytest.raises(RuntimeError, match="Thing ended with exit status 3: no license"):
        ends.told("up", 10.0)
    hangs = Program(["sleep", "60"], tmp_path / "hangs", name="Thing")
    with pytest.raises(RuntimeError, match=r"Thing did not start within 0\.1 s: it wrote nothing"):
        hangs.told("up", 0.1)
    hangs.close()
    deaf = Program(["sh", "-c", "read line; exit 4"], tmp_path / "deaf", name="Thing", answers=True)
    with pytest.raises(RuntimeError, match="Thing ended with exit status 4"):
        deaf.ask("hello", 10.0)
    says = Program(["sh", "-c", "while read line; do echo got $line; done"], tmp_path / "says", answers=True)
    assert says.ask("hello", 10.0) == b"got hello\n"
    says.close()
    assert _process.PATIENCE > 0


def test_a_model_that_cannot_be_served_is_told_as_the_server_tells_it(bench: PlatformBench, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    served = Served(replace(bench.source, path=broken), "weighed", 1, 1, 30.0, bench.feed(0))
    with pytest.raises(RuntimeError, match=r"weigh serve ended with exit status 2: .*broken\.onnx"):
        Local().start(served, tmp_path)


def test_models_of_text_are_refused_with_where_to_go(tmp_path: Path) -> None:
    from weigh.model.toy import random_llama, save_llama

    folder = save_llama(random_llama(0, layers=1), tmp_path / "llama")
    with pytest.raises(UsageError, match="serve/runtime and serve/batching"):
        PlatformBench(PlatformTask(model=folder, data=tmp_path), 0)


def test_platforms_that_are_not_here_say_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(HOME, str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    reasons = {
        name: " ".join(option.needs.missing())
        for name, option in catalog.options(catalog.choice("serve/platform")).items()
    }
    assert reasons["local"] == ""
    assert (
        "weigh deploy --prepare torchserve" in reasons["torchserve"] and "no java on the path" in reasons["torchserve"]
    )
    assert "tensorflow_model_server" in reasons["tf_serving"] and "--prepare tensorflow" in reasons["tf_serving"]
    assert "no kubectl on the path" in reasons["kubernetes"]
    with pytest.raises(UsageError, match=r"torchserve==0\.12\.0, about 1\.3 GB\) is not in .*weigh deploy --prepare"):
        TorchServe().start(served_nowhere(), tmp_path)
    with pytest.raises(UsageError, match=r"there is no environment 'torch' to prepare: type one of .*ray, torchserve"):
        make("torch")


def served_nowhere() -> Served:
    from weigh.model.source import Source

    return Served(Source(Path("none.onnx"), "onnx", "classifier", "0" * 64), "none", 1, 1, 1.0, {})


def test_kubectl_without_a_context_is_no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kubectl").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert ["kubectl has no context" in one for one in Kubernetes.needs.missing()] == [True]
    (tmp_path / "kubectl").write_text("#!/bin/sh\necho mine\n")
    assert Kubernetes.needs.missing() == []
    with pytest.raises(Unfit, match="kubernetes:image=REGISTRY/NAME"):
        Kubernetes().start(served_nowhere(), tmp_path)


def test_an_environment_that_was_not_made_whole_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(HOME, str(tmp_path))
    folder = tmp_path / "torchserve"
    (folder / "bin").mkdir(parents=True)
    assert home() == tmp_path and installed("torchserve") is None and missing("torchserve")
    (folder / STAMP).write_text("sha256:of an older recipe\n")
    assert installed("torchserve") is None
    (folder / STAMP).write_text(_digest("torchserve") + "\n")
    assert installed("torchserve") == make("torchserve") == folder / "bin" / "python"
    assert not missing("torchserve") and {"ray", "torchserve", "tensorflow", "tfx"} <= set(RECIPES)


def test_a_python_that_is_not_here_is_asked_for_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("WEIGH_PYTHON310", str(tmp_path / "python3.10"))
    (tmp_path / "python3.10").write_text("#!/bin/sh\necho 3.9\n")
    (tmp_path / "python3.10").chmod(0o755)
    with pytest.raises(
        UsageError, match=r"takes Python 3\.10.*uv python install 3\.10.*or say where it is in WEIGH_PYTHON310"
    ):
        python("3.10")
    (tmp_path / "python3.10").write_text("#!/bin/sh\necho 3.10\n")
    assert python("3.10") == tmp_path / "python3.10"


def test_versions_are_named_for_tensorflow_serving() -> None:
    assert TfServing.needs.missing()
    told = models_config("flights", Path("/models/flights"), {"stable": 1, "canary": 2})
    assert 'version_labels { key: "canary" value: 2 }' in told and "versions: 1 versions: 2" in told

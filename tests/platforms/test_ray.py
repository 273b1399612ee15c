"""Ray Serve: the server's own app in replicas, changed and split without starting anything anew, for real."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from shifted import shifted

from weigh.checks import check_option
from weigh.deploy import rayservice
from weigh.deploy.plan import Arm, Plan
from weigh.serve.platform import Served, _v2
from weigh.serve.platform._bench import PlatformBench
from weigh.serve.platform._environment import python_of
from weigh.serve.platform._load import Generator
from weigh.serve.platform._resident import family
from weigh.serve.platform.ray_serve import RayServe, Started


@pytest.fixture(scope="module", autouse=True)
def _ray(need) -> None:
    need("ray")


@pytest.fixture(scope="module")
def running(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    made = RayServe(replicas=2, cpus=0.5).start(served, tmp_path_factory.mktemp("ray"))
    assert isinstance(made, Started)
    yield made
    made.close()


def asked(running: Started, body: bytes, unit: str) -> tuple[str, bytes]:
    """The arm that answered a unit, and what it said."""
    request = urllib.request.Request(running._infer, body, {"x-unit-id": unit, "content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as got:
        return str(got.headers["x-weigh-arm"]), got.read()


def test_answers_are_those_of_the_model_run_directly(bench: PlatformBench, running: Started) -> None:
    assert bench._parity(running, "ray_serve") == 0.0
    assert running.memory_mb() > 300


def test_a_change_under_load_costs_no_request(bench: PlatformBench, running: Started, tmp_path: Path) -> None:
    other, feed, load = shifted(bench.task.model, tmp_path / "other.onnx"), bench.feed(3), Generator()
    direct = bench.direct(feed)[0]
    load.start(running.url, [running.request(feed)], 4, keep=1_000_000)
    running.swap(replace(bench.source, path=other))
    seen = load.stop()
    last = load.run(running.url, [running.request(feed)], 4, count=40, keep=40)
    load.close()
    apart = {round(float(running.answer(body)[0, 0] - direct[0]), 3) for body in seen.bodies.values()}
    assert seen.failed == 0 and apart <= {0.0, 1.0}
    assert {round(float(running.answer(body)[0, 0] - direct[0]), 3) for body in last.bodies.values()} == {1.0}
    running.swap(bench.source)
    assert bench._parity(running, "ray_serve") == 0.0


def test_a_share_of_the_units_meets_the_challenger_and_the_same_ones_in_every_replica(
    bench: PlatformBench, running: Started, tmp_path: Path
) -> None:
    """Each unit asks four times, of two replicas whichever answers: always the same arm, and that arm's own numbers."""
    other = shifted(bench.task.model, tmp_path / "other.onnx")
    running.share(replace(bench.source, path=other), 0.3)
    feed = bench.feed(3)
    direct, body, met = bench.direct(feed)[0, 0], _v2.body(feed, running._names), {}
    for unit in range(150):
        told = [asked(running, body, f"u{unit}") for _ in range(4)]
        arms = {arm for arm, _ in told}
        assert len(arms) == 1, f"unit {unit} met {arms}"
        met[unit] = arms.pop()
        more = {round(float(running.answer(text)[0, 0] - direct), 3) for _, text in told}
        assert more == ({1.0} if met[unit] == "canary" else {0.0})
    share = sum(arm == "canary" for arm in met.values()) / len(met)
    assert share == pytest.approx(0.3, abs=3.5 * (0.3 * 0.7 / 150) ** 0.5)
    running.swap(bench.source)
    assert {asked(running, body, f"u{unit}")[0] for unit in range(20)} == {"champion"}


def test_a_model_that_cannot_be_loaded_changes_nothing(bench: PlatformBench, running: Started, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(RuntimeError, match="Ray Serve does not serve"):
        running.swap(replace(bench.source, path=tmp_path / "broken.onnx"))
    running.swap(bench.source)
    assert bench._parity(running, "ray_serve") == 0.0


def test_rays_own_schema_takes_what_a_rayservice_says(tmp_path: Path) -> None:
    arm = Arm(image="i:1", version="1")
    plan = Plan(name="flights", champion=arm, challenger=Arm(image="i:1", version="2", file="b.onnx"), share=5)
    config = tmp_path / "config.yaml"
    config.write_text(rayservice.manifests(plan)[0]["spec"]["serveConfigV2"])
    code = "import sys, yaml; from ray.serve.schema import ServeDeploySchema as S; " + (
        "S.model_validate(yaml.safe_load(open(sys.argv[1])))"
    )
    words = [str(python_of("ray")), "-W", "ignore", "-c", code, str(config)]
    assert subprocess.run(words, capture_output=True).returncode == 0
    config.write_text(config.read_text().replace("import_path", "import_paths"))
    assert subprocess.run(words, capture_output=True).returncode != 0


def test_it_ends_with_all_that_it_started(running: Started) -> None:
    members = family(running.roots()[0])
    assert len(members) > 4
    running.close()
    assert not any(one.is_running() for one in members)


def test_the_option_conforms() -> None:
    assert not check_option("serve/platform", "ray_serve").skipped

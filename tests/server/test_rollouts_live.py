"""Rollouts on a server that serves: they ship, roll back and hold on what its own log says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers import Load, Running, body

from weigh.rollout.plan import RolloutPlan
from weigh.server import rollouts
from weigh.server import routing as files
from weigh.server.conductor import Conductor
from weigh.server.log import PredictionLog
from weigh.server.routing import Routing, Served
from weigh.server.settings import ServerSettings


def ended(server: Running, seconds: float = 60.0) -> dict[str, Any]:
    server.wait(lambda: server.admin("GET", "/admin/rollout")[1]["rollout"]["end"] != "", seconds)
    return server.admin("GET", "/admin/rollout")[1]


@pytest.mark.slow
def test_a_good_release_goes_from_shadow_to_all_users(serve: Callable[..., Running], nets: dict[str, Path]):
    server = serve()
    plan = {
        "guardrails": ["error <= baseline + 0.02", "disagreement <= 0.05"], "stages": [0.2, 0.5, 1.0], "shadow": True,
    }  # fmt: skip
    with Load(server) as load:
        status, begun = server.begin(nets["near"], **plan)
        assert status == 200
        told = ended(server)
        server.wait(lambda: server.admin("GET", "/admin/status")[1]["routing"]["challenge"] is None)
        load.more(100)
    assert told["rollout"]["end"] == "shipped" and load.broken == 0 and load.refused == {}
    assert {one["state"] for one in told["standing"]} == {"met"}
    entries = [one for one in server.logged() if one.get("rollout") == begun["id"]]
    assert [one["stage"] for one in entries] == sorted(one["stage"] for one in entries)
    assert {one["stage"]: {e["arm"] for e in entries if e["stage"] == one["stage"]} for one in entries} == {
        0: {"champion"}, 1: {"champion", "canary", "baseline"}, 2: {"canary", "baseline"},
    }  # fmt: skip
    assert server.infer()[2]["model_version"] == next(one["version"] for one in entries if one["arm"] == "canary")
    now = server.admin("GET", "/admin/status")[1]
    assert now["routing"]["champion"]["path"] == str(nets["near"]) and len(now["arms"]) == 1
    record = (server.state / "rollouts" / begun["id"] / "record.md").read_text()
    assert "**Shipped**: every guardrail is certified" in record and "disagreement <= 0.05" in record


@pytest.mark.slow
def test_feedback_decides(serve: Callable[..., Running], nets: dict[str, Path]):
    server = serve()
    plan = {
        "guardrails": ["error <= baseline + 0.05", "bought >= baseline - 0.1"], "stages": [0.5, 1.0], "least": 50,
        "metrics": [{"name": "bought"}],
    }  # fmt: skip
    assert server.begin(nets["near"], **plan)[0] == 200
    rng = np.random.default_rng(0)
    for start in range(0, 4000, 100):
        arms = {
            f"f{k}": server.infer(body(unit=f"n{k}", request=f"f{k}"))[1]["x-weigh-arm"]
            for k in range(start, start + 100)
        }
        told = [
            {"id": name, "values": {"bought": int(rng.random() < (0.2 if arm == "canary" else 0.6))}}
            for name, arm in arms.items()
        ]
        assert server.call("POST", "/feedback", told)[0] == 200
        if server.admin("GET", "/admin/rollout")[1]["rollout"]["end"]:
            break
    told = ended(server)
    assert told["rollout"]["end"] == "rolled back" and "bought >= baseline - 0.1 is broken" in told["rollout"]["reason"]


def test_low_traffic_is_a_hold(serve: Callable[..., Running], nets: dict[str, Path]):
    server = serve()
    assert server.begin(nets["near"], guardrails=["error <= baseline + 0.5"], stages=[0.5, 1.0])[0] == 200
    for k in range(30):
        server.infer(body(unit=f"n{k}"))
    server.wait(lambda: sum(server.admin("GET", "/admin/rollout")[1]["requests"].values()) == 30)
    told = server.admin("GET", "/admin/rollout")[1]
    assert told["verdict"]["verdict"] == "hold" and "low traffic" in told["verdict"]["reason"]
    assert told["rollout"]["end"] == ""


def test_the_command_line_starts_shows_and_aborts(serve: Callable[..., Running], nets: dict[str, Path], tmp_path: Path):
    server = serve()
    home = tmp_path / ".weigh" / "serve"
    home.mkdir(parents=True)
    (home / "net").symlink_to(server.state)

    def weigh(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "weigh", "rollout", *words], capture_output=True, text=True, cwd=tmp_path,
            stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip

    assert "there was no rollout yet" in weigh("status").stderr
    begun = weigh("start", str(nets["near"]), "--guardrail", "error <= baseline + 0.1", "--stages", "0.5,1")
    assert begun.returncode == 0 and "is under way" in begun.stdout
    again = weigh("start", str(nets["near"]))
    assert again.returncode == 2 and "is under way: `weigh rollout abort` ends it" in again.stderr
    server.infer()
    server.wait(lambda: bool(server.admin("GET", "/admin/rollout")[1]["requests"]))
    shown = weigh("status")
    assert shown.returncode == 0 and "share of users: 0.5 -> 1" in shown.stdout and "low traffic" in shown.stdout
    done = weigh("abort")
    assert done.returncode == 0 and "is aborted; all users meet the champion" in done.stdout
    assert weigh("status").returncode == 9
    assert (
        "--on nope" in weigh("abort", "--on", "nope").stderr
        or "no server of 'nope'" in weigh("abort", "--on", "nope").stderr
    )


PLAN = RolloutPlan(guardrails=["error <= baseline + 0.1"], stages=[0.5, 1.0], least=50)


def conducted(tmp_path: Path, times: Callable[[int], int]) -> tuple[str, str]:
    """The verdict on one and the same traffic, as a clock of the wall tells its times."""
    settings = ServerSettings(model="a.onnx", name="a", state=tmp_path)
    now = Routing(champion=Served(path="a.onnx"))
    rollout, routing = rollouts.planned(settings, now, Served(path="b.onnx"), PLAN)
    rollouts.keep(settings, rollout)
    with files.changing(settings.routing) as change:
        change(routing)
    log = PredictionLog(settings.logs)
    conductor = Conductor(settings, rollout, lambda: 0)
    for k in range(2000):
        arm = "canary" if k % 2 else "baseline"
        entry = {
            "id": f"r{k}",
            "t": times(k),
            "m": k * 10**6,
            "unit": f"u{k}",
            "arm": arm,
            "version": "1",
            "status": 200,
        }
        log.write(entry | {"ms": 1.0, "rollout": rollout.id, "stage": 0})
        if k % 500 == 499:
            verdict = conductor.step()
            if verdict.verdict != "hold":
                break
    log.close()
    return verdict.verdict, verdict.reason


def test_a_clock_that_goes_backwards_changes_no_verdict(tmp_path: Path):
    forwards = conducted(tmp_path / "a", lambda k: k * 10**9)
    assert forwards[0] == "ship" and forwards == conducted(tmp_path / "b", lambda k: (5000 - k) * 10**9)


def test_a_conductor_that_was_killed_goes_on(tmp_path: Path):
    settings = ServerSettings(model="a.onnx", name="a", state=tmp_path)
    rollout, _ = rollouts.planned(settings, Routing(champion=Served(path="a.onnx")), Served(path="b.onnx"), PLAN)
    rollouts.keep(settings, rollout)
    log, feedback = PredictionLog(settings.logs), PredictionLog(settings.logs, "feedback")
    whole, parts = Conductor(settings, rollout, lambda: 0), []
    for k in range(80):
        arm = "canary" if k % 2 else "baseline"
        entry = {"id": f"r{k}", "t": 0, "m": k * 10**6, "unit": f"u{k % 7}", "arm": arm, "version": "1", "status": 200}
        log.write(entry | {"ms": 1.0, "rollout": rollout.id, "stage": 0})
        feedback.write(
            {"id": f"r{k - 1}", "m": k * 10**6, "t": 0, "values": {"error": 0.0}} if k else entry | {"values": {}}
        )
        if k % 20 == 19:
            fresh = Conductor(settings, rollout, lambda: 0)
            fresh.step()
            parts.append(fresh.judge.state())
    once = Conductor(settings, rollout, lambda: 0)
    assert once.judge.state() == parts[-1], "all that was read is kept"
    (rollouts.folder_of(settings, rollout.id) / "judge.json").unlink()
    whole.step()
    assert whole.judge.state()["rows"] == parts[-1]["rows"] and whole.judge.ratio.counts() == once.judge.ratio.counts()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of what MLflow does with SQLAlchemy
def test_a_release_out_of_the_registry_becomes_its_champion(
    serve: Callable[..., Running], nets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import mlflow
    import onnx

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    for name, alias in (("net", "champion"), ("near", "challenger")):
        with mlflow.start_run():
            one = mlflow.onnx.log_model(
                onnx.load(nets[name]), name="model", pip_requirements=["onnxruntime"], save_as_external_data=False
            )
        version = mlflow.register_model(one.model_uri, "flights").version
        client.set_registered_model_alias("flights", alias, version)
    server = serve()
    with Load(server):
        plan = {"guardrails": ["disagreement <= 0.05"], "stages": [0.5, 1.0]}
        status, begun = server.begin(Path("models:/flights@challenger"), **plan)
        assert status == 200, begun
        told = ended(server)
    assert told["rollout"]["end"] == "shipped" and told["rollout"]["challenger"]["path"] == "models:/flights/2"
    assert client.get_model_version_by_alias("flights", "champion").version in ("2", 2)
    assert client.get_model_version_by_alias("flights", "previous").version in ("1", 1)
    assert client.get_model_version("flights", "2").tags["weigh.rollout"] == begun["id"]
    record = (server.state / "rollouts" / begun["id"] / "record.md").read_text()
    assert "models:/flights/2 is `champion` of flights, version 1 is `previous`" in record


def _conductor(tmp_path: Path, **plan: Any) -> tuple[Conductor, PredictionLog, PredictionLog]:
    settings = ServerSettings(model="a.onnx", name="a", state=tmp_path)
    told, now = RolloutPlan(**plan), Routing(champion=Served(path="a.onnx"))
    rollout, routing = rollouts.planned(settings, now, Served(path="b.onnx"), told)
    rollouts.keep(settings, rollout)
    with files.changing(settings.routing) as change:
        change(routing)
    log, feedback = PredictionLog(settings.logs), PredictionLog(settings.logs, "feedback")
    return Conductor(settings, rollout, lambda: 0), log, feedback


def _entry(rollout: str, k: int, arm: str, unit: str, **more: Any) -> dict[str, Any]:
    entry = {"id": f"r{k}", "t": k, "m": k * 10**6, "unit": unit, "arm": arm, "version": "1", "status": 200, "ms": 1.0}
    return entry | {"rollout": rollout, "stage": 0} | more


def test_one_heavy_user_decides_nothing(tmp_path: Path):
    conductor, log, _ = _conductor(tmp_path, guardrails=["error <= baseline + 0.02"], stages=[0.5, 1.0], least=50)
    for k in range(6000):
        log.write(_entry(conductor.rollout.id, k, "canary" if k % 2 else "baseline", f"u{k}"))
        if k % 20 == 0:
            log.write(_entry(conductor.rollout.id, 10_000 + k, "canary", "bot", status=500, error="Failed: x"))
    verdict = conductor.step()
    assert verdict.verdict == "ship", verdict.reason


def test_feedback_counts_once_and_says_nothing_of_what_the_server_knows(tmp_path: Path):
    plan = {"guardrails": ["error <= baseline + 0.05", "bought >= baseline - 0.1"], "metrics": [{"name": "bought"}]}
    conductor, log, feedback = _conductor(tmp_path, **plan, stages=[0.5, 1.0])
    for k in range(2):
        log.write(_entry(conductor.rollout.id, k, "canary" if k else "baseline", f"u{k}"))
    conductor.step()
    for _ in range(500):
        for k in range(2):
            feedback.write({"id": f"r{k}", "m": 5, "t": 5, "values": {"error": k, "bought": 1 - k}})
    assert conductor.step().verdict == "hold"
    assert [one.n for one in conductor.judge.standing()[:2]] == [(1, 1), (1, 1)]


def test_a_damaged_line_is_a_hold_and_hides_no_harm(tmp_path: Path):
    conductor, log, _ = _conductor(tmp_path, guardrails=["error <= baseline + 0.02"], stages=[0.5, 1.0], least=50)
    for k in range(1000):
        log.write(_entry(conductor.rollout.id, k, "canary" if k % 2 else "baseline", f"u{k}"))
    log.write([1, 2])  # type: ignore[arg-type]
    log.write(_entry(conductor.rollout.id, 1, "canary", "u", stage=99))
    held = conductor.step()
    assert held.verdict == "hold" and "2 answers could not be logged" in held.reason
    for k in range(1000, 2000):
        broken = {"status": 500, "error": "Failed: x"} if k % 2 else {}
        log.write(_entry(conductor.rollout.id, k, "canary" if k % 2 else "baseline", f"u{k}", **broken))
    assert conductor.judge.verdict().verdict == "hold"
    conductor.step()
    assert conductor.judge.verdict().verdict == "roll back"


def test_a_baseline_that_is_gone_says_nothing_of_the_champion(tmp_path: Path):
    conductor, log, _ = _conductor(tmp_path, guardrails=["error <= baseline + 0.02"], stages=[0.5, 1.0], least=50)
    for k in range(3000):
        canary = k % 2 == 1
        gone = {} if canary else {"error": "the process is gone", "by": "champion"}
        bad = {"status": 500, "error": "Failed: x"} if canary and k % 10 == 1 else {}
        log.write(_entry(conductor.rollout.id, k, "canary" if canary else "baseline", f"u{k}", **gone, **bad))
    assert conductor.step().verdict == "hold", "there is nothing to compare the canary with"

"""A conductor that was killed, whose file was damaged, or whose machine was started anew, comes to the same verdict."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from weigh.rollout.plan import RolloutPlan
from weigh.server import conductor as module
from weigh.server import rollouts
from weigh.server import routing as files
from weigh.server.conductor import Conductor
from weigh.server.log import PredictionLog
from weigh.server.routing import Routing, Served
from weigh.server.settings import ServerSettings

PLAN: dict[str, Any] = {
    "guardrails": ["error <= baseline + 0.1", "p90(latency) <= 1.5x baseline"], "stages": [0.5, 1.0], "least": 50,
    "window": 1.0, "memory": 1.0,
}  # fmt: skip


def begun(state: Path) -> tuple[ServerSettings, rollouts.Rollout]:
    settings = ServerSettings(model="a.onnx", name="net", state=state)
    settings.logs.mkdir(parents=True)
    made, wanted = rollouts.planned(
        settings, Routing(champion=Served(path="a.onnx")), Served(path="b.onnx"), RolloutPlan.parse(**PLAN)
    )
    rollouts.keep(settings, made)
    with files.changing(settings.routing) as change:
        change(wanted)
    return settings, made


def write(settings: ServerSettings, rollout: str, first: int, count: int, begin: int) -> None:
    """As many requests, one in ten milliseconds from `begin` on (nanoseconds), half of them to each arm."""
    draw, log = random.Random(first), PredictionLog(settings.logs)
    for k in range(first, first + count):
        log.write(
            {"id": f"r{k}", "unit": f"u{k}", "t": 0, "m": begin + (k - first) * 10_000_000, "stage": 0,
             "arm": ("baseline", "canary")[k % 2], "rollout": rollout, "status": 200, "ms": draw.uniform(1, 2)}
        )  # fmt: skip
    log.close()


def conducted(settings: ServerSettings, rollout: rollouts.Rollout) -> Conductor:
    made = Conductor(settings, rollout, lambda: 0)
    made.judge.begin(0)
    return made


def standing(one: Conductor) -> list[dict[str, Any]]:
    return [found.model_dump() for found in one.judge.standing()]


def test_a_state_that_was_damaged_is_made_anew_from_the_log(tmp_path: Path):
    settings, rollout = begun(tmp_path)
    now = time.monotonic_ns()
    write(settings, rollout.id, 0, 400, now - 8_000_000_000)
    first = conducted(settings, rollout)
    first.step()
    file = rollouts.folder_of(settings, rollout.id) / "judge.json"
    whole = file.read_bytes()
    state = orjson.loads(whole)
    write(settings, rollout.id, 400, 100, now - 3_000_000_000)
    whole_again = conducted(settings, rollout)
    whole_again.step()
    assert whole_again.again == ""
    wanted = standing(whole_again)
    assert wanted[0]["n"] == (250, 250)
    for damaged in (
        b'{"judge": {}}', whole[: len(whole) // 2], orjson.dumps(state | {"judge": state["judge"] | {"plan": "x"}}),
        orjson.dumps(state | {"places": {}}), orjson.dumps(state | {"requests": 3}),
        orjson.dumps({key: value for key, value in state.items() if key != "boot"}),
    ):  # fmt: skip
        file.write_bytes(damaged)
        again = conducted(settings, rollout)
        assert damaged == whole[: len(whole) // 2] or str(file) in again.again
        again.step()
        assert standing(again) == wanted and again._requests == whole_again._requests


def test_windows_go_on_when_the_machine_was_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings, rollout = begun(tmp_path)
    old = time.monotonic_ns() + 90 * 24 * 3600 * 1_000_000_000  # it had run for months
    monkeypatch.setattr(module, "BOOT", tmp_path / "boot")
    (tmp_path / "boot").write_text("one\n")
    monkeypatch.setattr(module.time, "monotonic_ns", lambda: old)
    write(settings, rollout.id, 0, 1000, old - 10_000_000_000)
    first = conducted(settings, rollout)
    first.step()
    windows = first.judge.guards[1].windows
    assert windows >= 8
    write(settings, rollout.id, 1000, 10, old)  # unread as it went down
    monkeypatch.undo()
    monkeypatch.setattr(module, "BOOT", tmp_path / "boot")
    (tmp_path / "boot").write_text("two\n")
    write(settings, rollout.id, 1010, 1000, time.monotonic_ns() - 10_000_000_000)
    second = conducted(settings, rollout)
    second.step()
    assert second.judge.guards[1].windows >= 2 * windows - 1
    third = conducted(settings, rollout)
    assert third._shift == second._shift > 0, "and it goes on when only the conductor was"


def test_rollouts_are_in_the_order_of_their_numbers(tmp_path: Path):
    settings, rollout = begun(tmp_path)
    for name in ("9999-ffff", "10000-0000"):
        rollouts.keep(settings, rollout.model_copy(update={"id": name}))
    assert rollouts.known(settings) == [rollout.id, "9999-ffff", "10000-0000"]
    assert rollouts.latest(settings).id == "10000-0000"  # type: ignore[union-attr]
    made, _ = rollouts.planned(settings, Routing(champion=rollout.champion), rollout.challenger, rollout.plan)
    assert made.id.startswith("10001-")

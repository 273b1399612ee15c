"""What goes wrong under load: processes that are killed, disks that fill, challengers that break, clients that idle."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import Load, Running, body

LASTING = {"guardrails": ["disagreement <= 0.9"], "stages": [0.4, 1.0], "least": 10**6}
"""A plan that stays at its first stage."""


def _assigned(server: Running, units: int = 60) -> dict[str, str]:
    return {f"v{k}": server.infer(body(unit=f"v{k}"))[1]["x-weigh-arm"] for k in range(units)}


def _logged_all(server: Running, load: Load) -> None:
    """Every answer that a client got is in the log, under the arm that it was told."""
    logged = {one["id"]: one["arm"] for one in server.logged()}
    assert len(load.answered) > 100
    assert {name: logged.get(name) for name in load.answered} == load.answered


@pytest.mark.slow
def test_a_worker_that_is_killed_fails_nobody(serve: Callable[..., Running], nets: dict[str, Path]):
    server = serve()
    assert server.begin(nets["near"], **LASTING)[0] == 200
    before = _assigned(server)
    assert set(before.values()) == {"canary", "champion", "baseline"}
    with Load(server) as load:
        load.more(200)
        pids = {one["arm"]: one["pid"] for one in server.admin("GET", "/admin/status")[1]["arms"]}
        os.kill(pids["canary"], signal.SIGKILL)
        load.more(200)
        server.wait(lambda: all(one["up"] for one in server.admin("GET", "/admin/status")[1]["arms"]))
        load.more(200)
    assert load.broken == 0 and load.refused == {}, "the champion answers in place of an arm that is gone"
    _logged_all(server, load)
    assert all(len(arms) == 1 for arms in load.units.values())
    assert _assigned(server) == before
    fallen = [one for one in server.logged() if one.get("by") == "champion"]
    assert all(one["arm"] == "canary" and one["error"] for one in fallen), "an arm's failure is told as its own"


@pytest.mark.slow
def test_a_router_that_is_killed_comes_again_with_the_same_arms(serve: Callable[..., Running], nets: dict[str, Path]):
    server = serve()
    assert server.begin(nets["near"], **LASTING)[0] == 200
    before = _assigned(server)
    with Load(server) as load:
        load.more(200)
        old = server.router()
        workers = old.children()
        old.kill()
        load.more(400)
    assert 0 < load.broken < 200 and set(load.refused) <= {503}
    _logged_all(server, load)
    assert all(len(arms) == 1 for arms in load.units.values())
    server.wait(lambda: all(one["up"] for one in server.admin("GET", "/admin/status")[1]["arms"]))
    assert _assigned(server) == before
    server.wait(lambda: not any(one.is_running() and one.status() != "zombie" for one in workers))


@pytest.mark.slow
def test_a_server_that_is_killed_goes_on_where_it_stood(serve: Callable[..., Running], nets: dict[str, Path]):
    server = serve()
    assert server.begin(nets["near"], **LASTING)[0] == 200
    before = _assigned(server)
    with Load(server) as load:
        load.more(300)
        server.kill()
    server.wait(lambda: True)
    _logged_all(server, load)
    counted = server.logged()
    server.start()
    server.wait(lambda: len(server.admin("GET", "/admin/status")[1]["arms"]) == 3)
    assert _assigned(server) == before
    with Load(server) as again:
        again.more(100)
    told: dict[str, int] = {}

    def all_counted() -> bool:
        told.update(server.admin("GET", "/admin/rollout")[1]["requests"])
        return sum(told.values()) == len([one for one in server.logged() if "rollout" in one])

    server.wait(all_counted)
    assert sum(told.values()) > len(counted)


@pytest.mark.slow
def test_a_keeper_that_is_killed_leaves_nothing_behind(serve: Callable[..., Running]):
    server = serve()
    under = server.family()[1:]
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    server.wait(lambda: not any(one.is_running() for one in under))
    assert server.start().infer()[0] == 200


def test_a_disk_that_is_full_costs_no_answer_and_lets_nothing_pass(
    serve: Callable[..., Running], nets: dict[str, Path]
):
    server = serve(prefix=("sh", "-c", 'ulimit -f 400; exec "$@"', "sh"))
    plan = {"guardrails": ["error <= baseline + 0.2"], "stages": [0.5, 1.0], "least": 200}
    with Load(server) as load:
        server.wait(lambda: server.admin("GET", "/admin/status")[1]["lost"] > 0)
        assert server.begin(nets["near"], **plan)[0] == 200
        load.more(600)
        server.wait(lambda: "could not be logged" in str(server.admin("GET", "/admin/rollout")[1]["verdict"]))
    assert load.broken == 0 and load.refused == {}
    told = server.admin("GET", "/admin/rollout")[1]
    assert told["verdict"]["verdict"] == "hold" and told["rollout"]["end"] == ""
    for one in server.logged():
        assert one["id"], "no half of a line stays"
    files = list((server.state / "log").glob("predictions-*"))
    assert max(one.stat().st_size for one in files) <= 400 * 512


def test_a_challenger_that_breaks_fails_nobody_and_is_rolled_back(serve: Callable[..., Running], nets: dict[str, Path]):
    server = serve()
    plan = {"guardrails": ["error <= baseline + 0.02"], "stages": [0.5, 1.0]}
    assert server.begin(nets["breaks"], **plan)[0] == 200
    with Load(server) as load:
        server.wait(lambda: server.admin("GET", "/admin/rollout")[1]["rollout"]["end"] == "rolled back", 60)
        server.wait(lambda: len(server.admin("GET", "/admin/status")[1]["arms"]) == 1)
        load.more(50)
    assert load.broken == 0 and load.refused == {}
    told = server.admin("GET", "/admin/rollout")[1]
    assert "error <= baseline + 0.02 is broken" in told["rollout"]["reason"]
    after = [one for one in server.logged() if one["m"] > max(e["m"] for e in server.logged() if "rollout" in e)]
    assert after and {one["arm"] for one in after} == {"champion"}


def test_a_slow_shadow_delays_nobody(serve: Callable[..., Running], nets: dict[str, Path]):
    server = serve()
    plan = {"guardrails": ["error <= baseline + 0.02"], "stages": [0.5, 1.0], "shadow": True, "least": 10**6}
    assert server.begin(nets["slow"], **plan)[0] == 200
    with Load(server, clients=2) as load:
        load.more(400)
    assert load.broken == 0 and load.refused == {} and set(load.answered.values()) == {"champion"}
    answers = [one["ms"] for one in server.logged()]
    server.wait(lambda: len(server.logged("shadow")) > 5)
    copies = [one["ms"] for one in server.logged("shadow")]
    assert sorted(copies)[len(copies) // 2] > 5 * sorted(answers)[len(answers) // 2]
    assert {one["error"] for one in server.logged("shadow")} == {0}


def test_a_hung_canary_leaves_time_for_the_champion(serve: Callable[..., Running], nets: dict[str, Path]):
    server = serve("--deadline", "2")
    assert server.begin(nets["near"], **LASTING)[0] == 200
    unit = next(name for name, arm in _assigned(server).items() if arm == "canary")
    pid = next(one["pid"] for one in server.admin("GET", "/admin/status")[1]["arms"] if one["arm"] == "canary")
    os.kill(pid, signal.SIGSTOP)
    status, headers, _ = server.infer(body(unit=unit, request="hung"))
    os.kill(pid, signal.SIGCONT)
    assert status == 200 and headers["x-weigh-arm"] == "canary"
    entry = next(one for one in server.logged() if one["id"] == "hung")
    assert entry["by"] == "champion" and entry["error"] == "too late"


@pytest.mark.slow
def test_ten_thousand_connections_that_say_nothing(serve: Callable[..., Running]):
    wanted = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted + 500:
        pytest.skip(f"needs {wanted + 500:,} open files, and {hard:,} are allowed: ulimit -Hn {wanted + 500}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = serve()
    idle: list[socket.socket] = []
    try:
        for _ in range(wanted):
            idle.append(socket.create_connection(server.address, timeout=30))
        with Load(server, clients=2) as load:
            load.more(200)
        assert load.broken == 0 and load.refused == {}
        assert server.router().memory_info().rss < 700e6
    finally:
        for one in idle:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_two_rollouts_at_once_are_one(serve: Callable[..., Running], nets: dict[str, Path]):
    server = serve()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: server.begin(nets["near"], **LASTING), range(4)))
    assert sorted(status for status, _ in found) == [200, 409, 409, 409]
    begun = next(told["id"] for status, told in found if status == 200)
    assert server.admin("GET", "/admin/rollout")[1]["rollout"]["id"] == begun
    assert server.admin("PUT", "/admin/champion", {"path": str(nets["near"])})[0] == 409
    assert server.admin("DELETE", "/admin/rollout") == (200, {"aborted": begun})
    assert server.admin("DELETE", "/admin/rollout")[0] == 409
    assert set(_assigned(server, 20).values()) == {"champion"}
    assert [one["pid"] for one in server.admin("GET", "/admin/status")[1]["arms"]] == [None]


def test_a_challenger_that_cannot_be_loaded_changes_nothing(serve: Callable[..., Running], tmp_path: Path):
    server = serve()
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"nothing")
    for path in (bad, tmp_path / "none.onnx"):
        status, told = server.begin(path, **LASTING)
        assert status == 409 and str(path) in told["error"]
    assert server.admin("GET", "/admin/rollout")[0] == 404
    assert server.infer()[0] == 200
    status, told = server.begin(tmp_path, guardrails=["error <= baseline + 0"])
    assert status == 400 and "allows no harm at all" in told["error"]


def test_a_second_server_in_the_same_folder_is_refused(serve: Callable[..., Running], nets: dict[str, Path]):
    server = serve()
    second = Running(nets["net"], server.state)
    with pytest.raises(AssertionError, match="another server uses"):
        second.start()
    assert server.infer()[0] == 200


def test_stopping_waits_for_what_is_under_way(serve: Callable[..., Running]):
    server = serve(model="slow")
    told = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1.0] * 4}]}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = [pool.submit(server.infer, told) for _ in range(4)]
        time.sleep(0.05)
        assert server.stop() == 0
        statuses = [one.result()[0] for one in found]
    assert set(statuses) == {200}


def test_a_challenger_that_hangs_is_aborted_at_once(
    nets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from weigh.server import routing as files
    from weigh.server.arms import ProcessArm
    from weigh.server.model import open_model
    from weigh.server.router import Router
    from weigh.server.routing import Challenge, Routing, Served
    from weigh.server.settings import ServerSettings

    async def aborted() -> Routing:
        hangs = asyncio.Event()

        async def ready(arm: ProcessArm, seconds: float) -> None:
            hangs.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(ProcessArm, "ready", ready)
        settings = ServerSettings(model=str(nets["net"]), name="net", state=tmp_path)
        alone = Routing(champion=Served(path=str(nets["net"])))
        router = Router(settings, open_model(str(nets["net"])), alone)
        challenge = Challenge(id="0001", challenger=Served(path=str(nets["near"])), mode="split", share=0.5, stage=0)
        with files.changing(settings.routing) as change:
            change(alone.model_copy(update={"challenge": challenge}))
        router.trouble = "it hung as the router began"
        following = asyncio.ensure_future(router.follow())
        await hangs.wait()
        await router.become(alone)
        following.cancel()
        await asyncio.wait([following])
        await router.close()
        return router.now

    assert asyncio.run(aborted()).challenge is None

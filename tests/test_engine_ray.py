"""The same race on a Ray cluster of two nodes, started for real: the same verdict, whoever is killed on the way."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from coins import Biased, CoinTask, Fair, Troubled
from learners import Digits
from learners.linear import Linear
from trouble import Nasty

from benchmarks.cluster import overheads, race
from weigh import Ledger, UsageError, catalog, decide, judge
from weigh.choice import Block, Needs, Task
from weigh.decision import Decision
from weigh.engine import Engine, Limits
from weigh.engine._cluster import join
from weigh.engine.inline import InlineEngine, shuffled
from weigh.engine.local import LocalEngine
from weigh.engine.ray import RayEngine
from weigh.evidence import Evidence
from weigh.flow import Event
from weigh.verify import verify

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'weigh[ray]'")
pytestmark = pytest.mark.slow
COINS = "coins:Coins"
HERE = Path(__file__).parent
PATIENT = {"health_check_period_ms": 10_000, "health_check_timeout_ms": 60_000, "health_check_failure_threshold": 10}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes, `one` with two CPUs and `two` with one."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.delenv("RAY_ADDRESS", raising=False)
        small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
        made = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 2, "node_name": "one", "_system_config": PATIENT, **small}
        )
        made.add_node(num_cpus=1, node_name="two", **small)
        yield made
        ray.shutdown()
        made.shutdown()


# the way in


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "'' is no address of a Ray cluster: type --address HOST:PORT"),
        ("ray://head:10001", "'ray://head:10001' is no address"),
        ("127.0.0.1:1", r"no Ray cluster answers at 127.0.0.1:1 (.*refused): see that it runs (`ray status"),
        ("127.0.0.1:99999", "no Ray cluster answers at 127.0.0.1:99999"),
    ],
)
def test_an_address_at_which_nothing_answers(cluster: Any, tmp_path: Path, address: str, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told).replace(r"\.\*", ".*")):
        decide(COINS, {}, engine=RayEngine(address), ledger=tmp_path / "l.db")


@pytest.mark.parametrize("word", [b"", b"SSH-2.0-x\r\n"])
def test_an_address_at_which_something_else_answers(cluster: Any, monkeypatch: pytest.MonkeyPatch, word: bytes) -> None:
    monkeypatch.setattr("weigh.engine._cluster._SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as before:
        other = server.accept()[0]
        before.close()
        other.close()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if word:
            _say(server, word)
        with pytest.raises(UsageError, match=f"answers at {address} .(timed out|what answers is another program)"):
            join(address)


def _say(server: socket.socket, word: bytes) -> None:
    import threading

    def answer() -> None:
        with server.accept()[0] as line:
            line.sendall(word)

    threading.Thread(target=answer).start()


def test_a_cluster_of_another_version(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "__version__", "2.1.0")
    with pytest.raises(UsageError, match=r"cannot be joined: Version mismatch: .*2\.60\.0.*the cluster's versions"):
        join(cluster.address)


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray, which is not installed: pip install 'weigh\[ray\]'"):
        join("127.0.0.1:1")


# the same race


@pytest.fixture(scope="module")
def joined(cluster: Any) -> Any:
    """The cluster, joined by this process: engines then need not, which saves a second each."""
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    return cluster


def toss(folder: Path, engine: Engine, **asked: Any) -> Decision:
    asked = {"task": CoinTask(), "options": [Fair(), Biased(p=0.7), Biased(p=0.2)], "ledger": folder / "l.db", **asked}
    return decide(asked.pop("choice", COINS), records=folder / "decisions", engine=engine, **asked)


def evidence(where: Any, decision: Decision) -> list[Evidence]:
    with Ledger(where) as book:
        return book.evidence(decision.lock)


def outcome(rows: list[Evidence]) -> list[tuple[Any, ...]]:
    """What does not depend on when, where and how fast."""
    return [(row.option, row.block, row.seed, row.values, row.status, row.reason) for row in rows]


QUESTIONS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "dropped on the way": lambda folder: {"options": [Fair(), *(Biased(p=p) for p in (0.45, 0.55, 0.65, 0.7))]},
    "an exact objective": lambda folder: {
        "options": [Fair(), *(Biased(p=p, weight=w) for p, w in ((0.3, 0.2), (0.46, 0.5), (0.54, 0.6), (0.6, 0.7)))],
        "objective": "weight",
        "require": ["heads >= baseline - 0.08"],
    },
    "trouble": lambda folder: {
        "options": [Fair(), Biased(p=0.75), *(Troubled(how=how) for how in ("exit", "hang", "unfit", "silent"))],
        "limits": Limits(seconds=1),
    },
    "rungs of training": lambda folder: {
        "choice": "learners:Learners",
        "task": Digits(),
        "options": [Linear(rate=1e-7), Linear(salt=1), Linear(salt=2)],
    },
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_verdict_and_evidence_are_those_of_one_machine(joined: Any, tmp_path: Path, question: str) -> None:
    asked = QUESTIONS[question](tmp_path)
    made = [toss(tmp_path / name, engine, **asked) for name, engine in (("a", LocalEngine()), ("b", RayEngine()))]
    local, spread = (evidence(tmp_path / name / "l.db", made[0]) for name in "ab")
    assert outcome(local) == outcome(spread)
    first, second = (decision.model_copy(update={"evidence": ""}) for decision in made)
    assert first == second
    (record,) = (tmp_path / "b" / "decisions").glob("*.md")
    assert verify(record, tmp_path / "b" / "l.db").code == 0


def test_blocks_are_spread_and_the_options_of_one_share_a_worker(joined: Any, tmp_path: Path) -> None:
    engine = RayEngine(environment={"COIN_DELAY": "0.02"})
    rows = evidence(tmp_path / "l.db", toss(tmp_path, engine, options=[Fair(), Biased(p=0.51)], budget="20"))
    nodes = {block: {row.where.node for row in rows if row.block == block} for block in {row.block for row in rows}}
    assert all(len(names) == 1 for names in nodes.values())
    assert {name for names in nodes.values() for name in names} == {"one", "two"}


# what is not the same on every node


def _changed(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """As if the node had another file, package or version than this process."""
    if what == "task":
        monkeypatch.setattr(Task, "fingerprint", lambda self: "sha256:other")
    if what == "code":
        monkeypatch.setattr(catalog, "_code", lambda cls: "sha256:other")
    if what == "package":
        monkeypatch.setattr(Fair, "needs", Needs(packages=("coin-press>=2",)))
    if what == "version":
        here = importlib.metadata.version
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9" if name == "weigh" else here(name))


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("task", r"the task's files \(.*tosses.txt\) do not hold what they held where the question was asked"),
        ("code", "the option biased:p=0.7 is not what it was where the question was asked|the option fair is not"),
        (
            "package",
            r"the option fair has not the packages that it was asked with \(nothing missing, not coin-press>=2",
        ),
        ("version", r"weigh [\d.]+ is not the 9.9 of the question"),
        ("folder", "the folder .*gone cannot be entered: No such file"),
    ],
)
def test_a_node_that_has_not_what_the_question_was_asked_with(
    joined: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, told: str
) -> None:
    notes = tmp_path / "tosses.txt"
    notes.write_text("heads")
    _changed(monkeypatch, what)
    engine = RayEngine(workers=1)
    if what == "folder":
        monkeypatch.setattr(os, "getcwd", lambda: f"{tmp_path}/gone")
    with pytest.raises(UsageError, match=rf"on the node (one|two) of the cluster: ({told})") as raised:
        toss(tmp_path, engine, task=CoinTask(notes=notes), options=[Fair(), Biased(p=0.7)])
    assert "every node of a cluster needs the same files by the same paths (a folder" in str(raised.value)
    with Ledger(tmp_path / "l.db") as book:
        assert not [row for row in book.export() if row["table"] == "weigh_evidence"]


def test_an_option_file_that_cannot_be_imported(joined: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import os; os._exit(7)")
    with pytest.raises(UsageError, match=r"mine.py cannot be imported: the worker ended with exit status 7"):
        toss(tmp_path, RayEngine(workers=1), options=[f"{tmp_path}/mine.py"])


@pytest.mark.parametrize("workers", [None, 1])
def test_a_cluster_without_room(
    joined: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int | None
) -> None:
    monkeypatch.setattr("weigh.engine._pool._PATIENCE", 0.5)
    with pytest.raises(UsageError, match=r"no room for a worker, which takes 64 CPU: of its 3 CPU \d are free"):
        decide(COINS, {}, engine=RayEngine(workers=workers, cpus=64), ledger=tmp_path / "l.db")


# killed


def actors(cluster: Any) -> list[psutil.Process]:
    """The processes of our actors, on all nodes of the cluster."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}
    processes = psutil.process_iter(["ppid", "cmdline"])
    ours = [process for process in processes if process.info["ppid"] in raylets]
    return [process for process in ours if "ray::Actor" in " ".join(process.info["cmdline"] or ())]


def until(there: Callable[[], bool]) -> None:
    """Wait for something that comes, or fail after two minutes."""
    end = time.monotonic() + 120
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def trials(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_worker_that_is_killed_loses_nothing(joined: Any, tmp_path: Path, workers: int) -> None:
    """What the ledger had is not measured again, the race is the same, and no option is blamed."""
    log, kept = tmp_path / "log", dict[str, int]()

    def lose(event: Event) -> None:
        if event.kind == "block" and event.block == 5:
            with Ledger(tmp_path / "l.db") as book:
                names = [f"{row.option} {row.block}" for row in book.evidence(event.lock.digest())]
            kept.update({name: trials(log)[name] for name in names})
            kill(actors(joined)[:2])

    asked = {"options": [Fair(), Biased(p=0.52)], "task": CoinTask(blocks=10, fresh=4), "epsilon": 0.0}
    engine = RayEngine(workers=workers, environment={"COIN_LOG": str(log), "COIN_DELAY": "0.02"})
    decision = toss(tmp_path, engine, watch=lose, **asked)
    alone = toss(tmp_path / "alone", LocalEngine(), **asked)
    assert decision.model_copy(update={"evidence": ""}) == alone.model_copy(update={"evidence": ""})
    assert len(kept) == 12 and kept == {name: trials(log)[name] for name in kept}
    assert {row.status for row in evidence(tmp_path / "l.db", decision)} == {"measured"}


@pytest.mark.parametrize(("parts", "times"), [(True, [1, 1, 2, 1]), (False, [2, 2, 2, 1])])
def test_a_block_is_told_whole_and_by_one_worker_unless_it_takes_long(
    joined: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: bool, times: list[int]
) -> None:
    """Killed at the third of four trials: what was told before is not measured again, and what was not told is."""
    log, mark, made = tmp_path / "log", tmp_path / "mark", catalog.choice(COINS)
    coins = [Nasty(how="hangs_once", mark=str(mark)), *(Biased(stream=stream) for stream in range(3))]
    locked = [catalog.lock_option(made, coin) for coin in coins]
    blocks = (Block(index=0, seed=seed) for seed in range(100))
    block = next(block for block in blocks if shuffled(locked, block)[2] is locked[0])
    if parts:
        monkeypatch.setattr("weigh.engine.ray.KEEP_EVERY", 0.0)
    with RayEngine(workers=1, environment={"COIN_LOG": str(log)}) as engine:
        engine.open(COINS, CoinTask().model_dump(mode="json"), 0)
        engine.expect([(block, locked)])
        told = engine.run(block, locked)
        first = [next(told), next(told)] if parts else []
        until(mark.exists)
        kill(actors(joined))
        names = [trial.option for trial in (*first, *told)]
    order = [option.spec for option in shuffled(locked, block)]
    assert names == order and [trials(log)[f"{name} 0"] for name in order] == times


def _command(address: str, folder: Path, ledger: str, workers: int, delay: str = "0") -> list[str]:
    environment = {"COIN_LOG": str(folder / "log"), "COIN_DELAY": delay}
    code = (
        "from weigh import decide; from weigh.engine.ray import RayEngine; import coins\n"
        f"decide('{COINS}', coins.CoinTask(blocks=20, fresh=8), options=[coins.Fair(), coins.Biased(p=0.52)],"
        f"epsilon=0.0, ledger={ledger!r}, records=None,"
        f"engine=RayEngine('{address}', workers={workers}, environment={environment}))"
    )
    return [sys.executable, "-c", code]


@pytest.mark.postgres
def test_a_driver_that_is_killed_and_two_at_once_on_one_postgres(joined: Any, tmp_path: Path, database: str) -> None:
    """`kill -9` of the driver, then the same command twice at once: what the ledger holds is never measured again."""
    log, env = tmp_path / "log", {**os.environ, "PYTHONPATH": str(HERE)}
    run = subprocess.Popen(_command(joined.address, tmp_path, database, 3, "0.05"), env=env)
    until(lambda: sum(trials(log).values()) >= 14)
    run.kill()
    run.wait()
    with Ledger(database) as book:
        digest = next(row["digest"] for row in book.export() if row["table"] == "weigh_lock")
        kept = {f"{row.option} {row.block}" for row in book.evidence(digest)}
    until(lambda: not actors(joined))
    runs = [subprocess.Popen(_command(joined.address, tmp_path, database, 1), env=env) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert kept and all(trials(log)[trial] == 1 for trial in kept)
    with Ledger(database) as book:
        lock, rows, decision = book.lock(digest), book.evidence(digest), book.decision(digest)
    assert decision == judge(lock, rows)
    alone = decide(
        COINS, CoinTask(blocks=20, fresh=8), options=[Fair(), Biased(p=0.52)], epsilon=0.0, ledger=tmp_path / "l.db",
        records=None, engine=LocalEngine(),
    )  # fmt: skip
    assert decision.model_copy(update={"evidence": ""}) == alone.model_copy(update={"evidence": ""})
    assert outcome(rows) == outcome(evidence(tmp_path / "l.db", alone))


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


def test_from_the_command_line(joined: Any, tmp_path: Path) -> None:
    """One JSON document on standard output, whatever Ray prints of the worker that is killed."""
    words = ["decide", COINS, "--option", "coins:Biased:p=0.52", "--budget", "12", "--quiet", "--json"]
    run = subprocess.Popen(
        [sys.executable, "-m", "weigh", *words, "--engine", "ray", "--address", joined.address, "--workers", "1"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(HERE)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: any(_children(actor) for actor in actors(joined)))
    kill(actors(joined))
    printed, _ = run.communicate()
    made = json.loads(printed)
    assert made["verdict"] == "undecided" and run.returncode == 5
    assert f"--engine ray --address {joined.address} --workers 1" in printed


def test_the_benchmark_runs(joined: Any) -> None:
    assert race(workers=1, blocks=8, loops=100) > 0
    with InlineEngine() as engine:
        assert len(overheads([engine], rounds=2, blocks=3)[0]) == 2


def test_a_node_that_is_lost(joined: Any, tmp_path: Path) -> None:
    """Its blocks are measured on the other one, and the race goes on."""
    (two,) = joined.worker_nodes

    def lose(event: Event) -> None:
        if event.kind == "block" and event.block == 4:
            joined.remove_node(two, allow_graceful=False)

    asked = {"options": [Fair(), Biased(p=0.52)], "task": CoinTask(blocks=12, fresh=4), "epsilon": 0.0}
    decision = toss(tmp_path, RayEngine(environment={"COIN_DELAY": "0.02"}), watch=lose, **asked)
    assert outcome(evidence(tmp_path / "l.db", decision)) == outcome(
        evidence(tmp_path / "a" / "l.db", toss(tmp_path / "a", LocalEngine(), **asked))
    )

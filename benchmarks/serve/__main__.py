"""weigh's server against FastAPI, LitServe, BentoML, MLServer, MLflow, Ray Serve and TorchServe, on one small net.

``make bench-serve [ARGS="--part servers --rounds 36"]`` does two things; a run of one leaves the figures of the other.

**servers**: every server has one worker and is set up for production as its documents have it (no reloading, no
access log; `benchmarks/serve/setup.py`). It is held against ONNX Runtime's own answers first. Then rounds of windows
at 1, 16 and 64 kept connections of a closed loop, sent by a process of its own; in each round all servers take turns,
in an order drawn anew. Peers use next to nothing while nobody asks them (`idle_cpu`, of one processor); weigh still
reads what it logged then, so it is stopped (SIGSTOP) while others are asked, and does that work in its own windows.
Ray uses a tenth of a processor: Ray Serve is measured in rounds of its own, beside weigh.

``weigh`` has all of it on: predictions logged before they are sent, metrics by arm, users who keep their arm, a canary
that a tenth of them meets and a fresh baseline that another tenth does. ``weigh_plain`` has no rollout. ``runtime`` is
the net in a loop in one process, ``runtime_json`` the same from the bytes of a request to those of its answer.

A server's figures are medians over its windows; ranks and ratios are medians, over rounds, of weigh's value by the
peer's in the same round. CPU time is of all processes of a server.

**shadow**: weigh's server without a rollout and with copies of every request for a challenger, in the same rounds: what
it adds to the user's p99 at 40 % of the load that the server can bear (open loop), and at 16 connections (closed loop).

Targets: first in requests a second and in p99 at 16 connections; shadow copies cost under 5 % of p99.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")

from benchmarks._ask import at_least, told
from benchmarks._result import RESULTS, commit, report, table

LEVELS = (1, 16, 64)
AT = "16"
"""Connections at which ranks are taken."""
PARTS = ("servers", "shadow")
WEIGH = ("weigh", "weigh_plain")
COLUMNS = ("rps", "p50", "p99", "p99_all", "cpu_ms", "failed")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What is typed."""
    from benchmarks.serve.setup import PEERS

    known = argparse.ArgumentParser(
        prog="python -m benchmarks.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known.add_argument("--part", action="append", choices=PARTS, help="this part; again for more; all by default")
    known.add_argument("--peer", action="append", choices=PEERS, help="against these peers alone, and write nothing")
    known.add_argument("--rounds", type=at_least(2), default=36, help="rounds of windows at each level")
    known.add_argument("--shadow-rounds", type=at_least(4), default=60, help="rounds with and without copies")
    known.add_argument("--window", type=at_least(50), default=500, help="milliseconds of a window")
    known.add_argument("--dry", action="store_true", help="write nothing")
    return known.parse_args(words)


def main() -> None:
    """Measure, print, write."""
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server is left behind
    with told():
        _all(asked)


def _all(asked: argparse.Namespace) -> None:
    from benchmarks.serve import net as nets
    from benchmarks.serve import shadow
    from weigh.serve.platform._load import Generator

    dry = bool(asked.dry or asked.peer)
    found: dict[str, Any] = {} if dry else _kept()
    load, seconds = Generator(), asked.window / 1e3
    with tempfile.TemporaryDirectory(prefix="weigh-serve-") as folder:
        net = nets.made(Path(folder))
        for part in asked.part or PARTS:
            if part == "servers":
                found |= _servers(asked, net, Path(folder), load)
            else:
                found |= shadow.played(net, asked.shadow_rounds, max(seconds, 1.0), load)
            found["commits"] = {**found.get("commits", {}), part: commit()}
    load.close()
    shown = {name: value for name, value in found.items() if name.startswith(("shadow", "alone"))}
    table(("shadow", "value"), list(shown.items()))
    if dry:
        print(json.dumps(found), flush=True)
    else:
        report("serve", found)


def _kept() -> dict[str, Any]:
    """The figures of all parts as they were last run."""
    file = RESULTS / "serve.json"
    return dict(json.loads(file.read_text())["figures"]) if file.is_file() else {}


def _servers(asked: argparse.Namespace, net: Any, folder: Path, load: Any) -> dict[str, Any]:
    from benchmarks.serve import figures
    from benchmarks.serve.setup import PEERS

    peers = list(asked.peer or PEERS)
    calm, restless = [one for one in peers if one != "ray_serve"], [one for one in peers if one == "ray_serve"]
    windows, once = _block(calm, WEIGH, asked, net, folder / "calm", load)
    beside, more = ([], {}) if not restless else _block(restless, ("weigh",), asked, net, folder / "restless", load)
    rates = once.pop("runtime")
    found: dict[str, Any] = {**more, **once}
    found = {f"{server}_{name}": value for server, row in found.items() for name, value in row.items()}
    ratios: dict[str, dict[str, Any]] = {"rps": {}, "p99": {}}
    for peer in peers:
        some = beside if peer in restless else windows
        for name, value in (("rps", figures.rate), ("p99", figures.p99)):
            ratios[name][peer] = figures.ratio(some, "weigh", peer, AT, value)
            found[f"{name}_to_{peer}"] = figures.plain(ratios[name][peer])
    mine = [one for one in beside if one.server != "weigh"]  # weigh's own figures are those of the calm rounds
    by_server = figures.by_server([*windows, *mine])
    _shown(by_server, found)
    found |= figures.flat(by_server) | rates
    found["share_of_runtime"] = round(by_server["weigh"][AT]["rps"] / rates["runtime_rps"], 4)
    found["share_of_runtime_json"] = round(by_server["weigh"][AT]["rps"] / rates["runtime_json_rps"], 4)
    for name, more_is_better in (("rps", True), ("p99", False)):
        found[f"{name}_rank"] = figures.rank(ratios[name], more_is_better)
        found[f"{name}_first_for_sure"] = figures.sure(ratios[name], more_is_better)
    return found


def _block(
    peers: Sequence[str], ours: Sequence[str], asked: argparse.Namespace, net: Any, folder: Path, load: Any
) -> tuple[list[Any], dict[str, dict[str, float]]]:
    """Windows of servers that are up together, and what is measured of each once; ``runtime`` beside weigh_plain."""
    from benchmarks.serve.running import Running, need_mode, peer, weigh
    from benchmarks.serve.windows import played

    servers, once = [], {}
    folder.mkdir()
    try:
        for name in [*ours, *peers]:
            mode = "plain" if name == "weigh_plain" else "canary"
            server: Running = weigh(net, folder, mode, name) if name in WEIGH else peer(name, net, folder)
            servers.append(server)
            server.check(load)
            once[name] = {"startup_s": round(server.started, 2), "idle_cpu": round(server.tree.idle(1.0), 4)}
            if name in WEIGH:
                server.tree.rest()
            print(f"{name}: up in {server.started:.1f} s", flush=True)
        windows = played(servers, LEVELS, asked.rounds, asked.window / 1e3, load, len(peers), WEIGH)
        for server in servers:
            once[server.name]["memory_mb"] = round(server.tree.memory(), 1)
            server.check(load)
        need_mode(servers[0], "canary")
        if "weigh_plain" in ours:
            for server in servers[: len(ours)]:
                server.tree.rest()
            once["runtime"] = _runtime(net, asked.rounds)
        return windows, once
    finally:
        for server in servers:
            server.close()


def _runtime(net: Any, rounds: int) -> dict[str, float]:
    """The limit, as the median of as many rounds."""
    import numpy as np

    from benchmarks.serve.runtime import Runtime

    runtime = Runtime(net)
    bare, with_json = np.median([runtime.rates(0.1) for _ in range(rounds)], axis=0)
    return {"runtime_rps": round(float(bare)), "runtime_json_rps": round(float(with_json))}


def _shown(by_server: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """One table a level, and how weigh compares."""
    for level in LEVELS:
        rows: list[tuple[Any, ...]] = [
            (name, *(kinds[str(level)][one] for one in COLUMNS)) for name, kinds in by_server.items()
        ]
        table((f"{level} connections", *COLUMNS), sorted(rows, key=itemgetter(1), reverse=True))
    rows = [
        (name, found[f"rps_to_{name}"], found[f"p99_to_{name}"], *(found[f"{name}_{one}"] for one in ONCE))
        for name in by_server if f"rps_to_{name}" in found
    ]  # fmt: skip
    rows += [(name, "", "", *(found[f"{name}_{one}"] for one in ONCE)) for name in WEIGH if name in by_server]
    table(("server", f"weigh's rps by its, {AT}", f"weigh's p99 by its, {AT}", *ONCE), rows)


ONCE = ("startup_s", "memory_mb", "idle_cpu")


if __name__ == "__main__":
    main()

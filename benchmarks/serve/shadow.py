"""What copies for a shadow cost the user: p99 of the same server with and without them, in the same rounds."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.serve.figures import figures, p99, plain, ratio
from benchmarks.serve.running import need_mode, weigh
from benchmarks.serve.windows import Window, measured

if TYPE_CHECKING:
    from benchmarks.serve.net import Net
    from weigh.serve.platform._load import Generator

CONNECTIONS = 16
LIVES = 4
"""Pairs of servers, each started anew: how memory happens to lie lasts as long as a process."""
LOAD = 0.4
"""Share of what the server can answer at most that the open loop asks."""


def played(net: Net, rounds: int, seconds: float, load: Generator) -> dict[str, Any]:
    """The figures: `shadow_p99_cost` is of the open loop."""
    windows: list[Window] = []
    answered = copies = 0
    for life in range(LIVES):
        with tempfile.TemporaryDirectory(prefix="weigh-serve-") as folder:
            made, all_of_life, taken = _life(net, Path(folder), life, -(-rounds // LIVES), seconds, load)
        windows, answered, copies = windows + made, answered + all_of_life, copies + taken
    found: dict[str, Any] = {"shadow_copied_share": round(copies / answered, 4)}
    for kind in ("open", "closed"):
        cost = ratio(windows, "shadow", "alone", kind, p99)
        for name in ("alone", "shadow"):
            mine = figures(one for one in windows if one.server == name)[kind]
            found[f"{name}_p99_{kind}"] = round(mine["p99"], 4)
            found[f"{name}_rps_{kind}"] = round(mine["rps"], 1)
        ends = [None if end is None else round(end - 1, 4) for end in plain(cost)]
        found["shadow_p99_cost" if kind == "open" else "shadow_p99_cost_closed"] = ends[1]
        found["shadow_p99_cost_interval" if kind == "open" else "shadow_p99_cost_closed_interval"] = [ends[0], ends[2]]
    return found


def _life(
    net: Net, folder: Path, life: int, rounds: int, seconds: float, load: Generator
) -> tuple[list[Window], int, int]:
    """Rounds of one pair; requests that the server with copies answered, and copies that the shadow answered."""
    chance, windows = np.random.default_rng(life), []
    pair = [weigh(net, folder, "plain", "alone")]
    try:
        pair.append(weigh(net, folder, "shadow", "shadow"))
        for server in pair:
            server.check(load)
        most = measured(pair[0], "most", 0, load, CONNECTIONS, seconds).rate
        for server in pair:
            server.tree.rest()
        for place in range(life * rounds, (life + 1) * rounds):
            for kind, rate in (("open", LOAD * most), ("closed", 0.0)):
                for which in chance.permutation(2):
                    server = pair[which]
                    server.tree.go_on()
                    windows.append(measured(server, kind, place, load, CONNECTIONS, seconds, rate))
                    server.tree.rest()
        pair[1].tree.go_on()
        need_mode(pair[1], "shadow")
        time.sleep(1.0)  # for what is still on its way to the shadow
        log = pair[1].folder / "state" / "log"
        return windows, _lines(log, "predictions"), _lines(log, "shadow")
    finally:
        for server in pair:
            server.close()


def _lines(log: Path, kind: str) -> int:
    return sum(path.read_bytes().count(b"\n") for path in log.glob(f"{kind}-*.jsonl"))

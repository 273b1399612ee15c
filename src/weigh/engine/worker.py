"""The child process of `weigh.engine.local`: one JSON request a line in, one JSON answer a line out.

It never touches the ledger. What options print goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import Any, TextIO

from weigh.choice import Block
from weigh.decision import OptionLock
from weigh.engine.inline import InlineEngine


def main() -> None:
    """Serve requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this process
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.path[:] = json.loads(os.environ["WEIGH_WORKER_PATH"])
    engine = InlineEngine()
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            answer = _answer(engine, json.loads(line))
        _send(out, answer)


def _answer(engine: InlineEngine, request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request; what opening the task raises goes back to the caller as an error."""
    try:
        if request["do"] == "open":
            return engine.open(request["choice"], request["task"], request["seed"]).model_dump()
        if request["do"] == "exhibits":
            locks = [OptionLock.model_validate(option) for option in request["options"]]
            return {"exhibits": [exhibit.model_dump(mode="json") for exhibit in engine.exhibits(locks)]}
        option = OptionLock.model_validate(request["option"])
        if request["do"] == "prepare":
            refused = engine.prepare(option)
            return {"refused": refused and refused.model_dump(mode="json")}
        trial = engine.measure(option, Block.model_validate(request["block"]))
        return {"trial": trial.model_copy(update={"memory_mb": _resident_mb()}).model_dump(mode="json")}
    except ValueError as error:
        return {"error": str(error), "kind": "usage"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "kind": "crash"}


def _resident_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def _send(out: TextIO, answer: dict[str, Any]) -> None:
    out.write(json.dumps(answer) + "\n")
    out.flush()


if __name__ == "__main__":
    main()

"""The child process of `weigh.engine.local`: one JSON request a line in, one JSON answer a line out.

It never touches the ledger. What options print goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from weigh import catalog
from weigh.choice import Block, Halted
from weigh.decision import OptionLock
from weigh.engine.inline import InlineEngine, stop_for
from weigh.printable import printable


def main() -> None:
    """Serve requests until there are no more, or nobody hears the answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = _pipes()
    sys.path[:] = json.loads(os.environ["WEIGH_WORKER_PATH"])
    engine = InlineEngine(catch=BaseException)
    with contextlib.suppress(OSError):  # whoever asked is gone, or an option closed what is not its own
        for line in requests:
            with contextlib.redirect_stdout(sys.stderr):
                answer = _answer(engine, json.loads(line))
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    os._exit(0)  # threads that an option left behind do not hold the worker


def _pipes() -> tuple[Iterator[str], TextIO]:
    """Requests and answers, away from standard input and output: options may read the one and write the other."""
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _answer(engine: InlineEngine, request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request; what opening the task or loading an option raises goes back to the caller."""
    try:
        return _done(engine, request)
    except BaseException as error:
        try:
            stop_for(error)
        except Halted as halted:
            error = halted
        usage = isinstance(error, Halted) or (isinstance(error, ValueError) and request["do"] in ("open", "load"))
        text = str(error) if usage else f"{type(error).__name__}: {error}"
        return {"error": printable(text), "kind": "usage" if usage else "crash"}


def _done(engine: InlineEngine, request: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "load":
        return {"loaded": catalog.find(catalog.choice(request["choice"]), request["option"]).spec}
    if request["do"] == "open":
        asked = (request["choice"], request["task"], request["seed"], request["fingerprint"])
        return {"blocks": engine.open(*asked).model_dump()}
    if request["do"] == "exhibits":
        locks = [OptionLock.model_validate(option) for option in request["options"]]
        return {"exhibits": [exhibit.model_dump(mode="json") for exhibit in engine.exhibits(locks)]}
    option = OptionLock.model_validate(request["option"])
    if request["do"] == "prepare":
        refused = engine.prepare(option)
        return {"refused": refused and refused.model_dump(mode="json")}
    trial = engine.measure(option, Block.model_validate(request["block"]))
    return {"trial": trial.model_copy(update={"memory_mb": _resident_mb()}).model_dump(mode="json")}


def _resident_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


if __name__ == "__main__":
    main()

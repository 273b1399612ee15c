"""The fresh process: reads what to serve as one line of JSON, answers once, and says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from weigh.choice import Unfit
from weigh.model.memory import peak
from weigh.model.source import Port, Source
from weigh.serve.runtime import Setting
from weigh.serve.runtime._fresh import remade


def source_of(told: dict[str, Any]) -> Source:
    """A source that was checked before; it is not checked again."""
    ports = {
        side: tuple(Port(one["name"], one["type"], tuple(one["shape"])) for one in told[side])
        for side in ("inputs", "outputs")
    }
    return Source(**{**told, **ports, "path": Path(told["path"])})


def _serve(asked: dict[str, Any]) -> float:
    """Peak memory in MB, once the first answer is there."""
    import numpy as np

    setting = Setting(asked["setting"]["threads"], tuple(asked["setting"]["rows"]), asked["setting"]["tokens"])
    feed = {name: np.array(values, dtype) for name, (dtype, values) in asked["feed"].items()}
    served = remade(asked["option"]).open(Path(asked["path"]), source_of(asked["source"]), setting)
    served.answer(feed)
    megabytes = peak() + served.others_mb()
    print(json.dumps({"megabytes": megabytes}), flush=True)
    served.close()
    return megabytes


if __name__ == "__main__":
    try:
        _serve(json.loads(sys.stdin.readline()))
    except Unfit as refusal:
        print(json.dumps({"unfit": str(refusal)}), flush=True)

"""The same question on models that were not trained here: a sentence encoder and a small language model.

The accuracy of all-MiniLM-L6-v2 on labelled texts may fall by 0.02; SmolLM2-135M may lose 0.02 nats a token of Python's
manual. What each rule ships is judged where it runs, against the float model of the same library, by rows that no draw
used (of the few labelled texts: by all that did not calibrate), and timed in turns with that float model on one draw.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.compress import encoder, language, rivals, scores, shipped
from benchmarks.compress.fronts import FOLDER
from benchmarks.compress.rivals import HERE, Kept
from benchmarks.compress.shipped import Judged, key

MODELS = {encoder.NAME: encoder, language.NAME: language}


def kept(folder: Path = FOLDER) -> Kept[Judged]:
    """Outcomes on disk."""
    own = [Path(of.__file__ or "") for of in (shipped, encoder, language)]
    peers = ("_asked.py", "inc.py", "inc_encoder.py", "inc_language.py", "requirements-inc.txt")
    files = [*own, *(HERE / name for name in (*peers, "requirements-inc-language.txt"))]
    return Kept(folder / "models", files, Judged)


def collect(count: int, end: float = math.inf, folder: Path = FOLDER) -> list[Judged]:
    """All outcomes of so many draws of each model: what is kept, and the rest, one after another, as they are timed.

    Stops at `end`, by the monotonic clock, with what there is.
    """
    known = kept(folder)
    for name, of in MODELS.items():
        for place in of.PEERS.values():
            rivals.environment(place)
        for seed in range(count):
            missing = [rule for rule in ("weigh", *of.PEERS) if (key(name, seed), rule) not in known.known]
            if not missing or time.monotonic() > end:
                continue
            with tempfile.TemporaryDirectory() as place:
                for one in of.played(seed, missing, Path(place), known.path.with_suffix("")):
                    known.add(one)
                    print(f"{one.key}, {one.rule}: {one.what}", flush=True)
    wanted = {key(name, seed) for name in MODELS for seed in range(count)}
    return [one for one in known.known.values() if one.key in wanted]


def figures(outcomes: Sequence[Judged]) -> dict[str, Any]:
    """By model what `scores.figures` says of its draws, with what was chosen and how long it takes."""
    told: dict[str, Any] = {}
    for name in MODELS:
        of = [one for one in outcomes if one.key.startswith(f"{name}-")]
        made = scores.figures(of)
        del made["by_question"]
        for rule, row in made["rules"].items():
            mine = [one for one in of if one.rule == rule]
            row["latency_ratio"] = next((round(one.latency, 4) for one in mine if one.latency is not None), None)
            row["chosen"] = sorted({one.what for one in mine})
        told[name] = made
    return {"models": told}

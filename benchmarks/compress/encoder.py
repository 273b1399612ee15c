"""all-MiniLM-L6-v2 on labelled texts: a vector answers with the label whose centre is nearest.

weigh measures the Hugging Face folder in torch. Neural Compressor tunes the ONNX export, in ONNX Runtime.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compress import material, rivals
from benchmarks.compress.shipped import FLOOR, Judged, in_turns, key, own_cache, remembered, timed
from weigh import catalog
from weigh.compress.quantize import QuantizeTask
from weigh.data import minilm, topics
from weigh.data.cache import cache_folder, replacing
from weigh.model.artefact import artefact, unchanged
from weigh.model.forms import written
from weigh.model.probe import Probe
from weigh.model.rows import Rows
from weigh.model.runner import open_runner
from weigh.model.session import Session
from weigh.model.source import open_source
from weigh.model.split import split_rows
from weigh.model.texts import load_texts

NAME = "minilm"
OPTIONS = ("bfloat16", "int8_weights", "int4_weights")
"""Of compress/quantize, beside the model as it is."""
PEERS = {"inc": "inc"}
"""By rule the environment that it runs in."""
CALIBRATION, JUDGED = 200, 900
"""Texts of a draw that calibrate (and place the centres of labels), and others that judge."""
TOKENS = 32
"""Of a text, padded or cut."""


def played(seed: int, rules: Sequence[str], folder: Path, known: Path) -> Iterator[Judged]:
    """Ask some rules about one draw.

    Args:
        folder: an empty one, for what is made meanwhile.
        known: keeps what is true of models.
    """
    draw = Draw(seed, folder, known)
    for rule in rules:
        yield draw.by_weigh() if rule == "weigh" else draw.by_peer()


class Draw:
    """One draw of the texts; what is true is said by all texts that do not calibrate."""

    def __init__(self, seed: int, folder: Path, known: Path) -> None:
        self._seed, self._folder, self._known, frame = seed, folder, known, topics.load()
        places = np.random.default_rng([seed, 11]).permutation(len(frame))[: CALIBRATION + JUDGED]
        data = folder / "texts.parquet"
        frame[places.tolist()].write_parquet(data)
        self.task = {
            "model": minilm.path(), "data": data, "label": "label", "window": TOKENS, "calibration_rows": CALIBRATION,
            "held_back": 0.0, "rounds": JUDGED // 8, "runs": 1, "warmup": 0,
        }  # fmt: skip
        self.source = open_source(minilm.path())
        task = QuantizeTask.model_validate(self.task)
        rows = load_texts(task, self.source)
        split = split_rows(task, self.source, rows)
        self.calibration, self.judged = split.calibration, _some(rows, split.judged)
        self._every = load_texts(task.model_copy(update={"data": topics.path()}), self.source)
        every = [row.tobytes() for row in self._every.feeds["input_ids"]]
        calibrating = [row.tobytes() for row in self.calibration.tokens]
        seen = set(calibrating)
        self._centring = np.array([every.index(row) for row in calibrating])
        self._true = np.array([place for place, row in enumerate(every) if row not in seen])
        self.truth = _some(self._every, self._true)

    def by_weigh(self) -> Judged:
        """`weigh.decide` on the folder."""
        size = unchanged(self.source).megabytes
        with own_cache(self._folder / "cache"):
            option, what, rows, spent = rivals.decided(
                self.task, OPTIONS, f"accuracy >= baseline - {FLOOR}", size, self._folder / "ledger.db", "accuracy"
            )
            made = artefact(catalog.find(catalog.choice("compress/quantize"), option), self.source, self.calibration)
            sides = [open_runner(path, self.source, 1, 1) for path in (self.source.path, made.path)]
        return self._judged("weigh", what, option != "none", sides, made.megabytes / size, rows, spent, made.sha256)

    def by_peer(self) -> Judged:
        """Neural Compressor's tuning of the ONNX export."""
        base, data = exported(), self._folder / "texts.npz"
        feeds = {f"judged_{name}": values for name, values in self.judged.feeds.items()}
        feeds |= {f"calibration_{name}": values for name, values in self.calibration.feeds.items()}
        labels = {"judged_labels": self.judged.labels, "calibration_labels": self.calibration.labels}
        np.savez(data, **feeds, **{name: np.asarray(values).astype(str) for name, values in labels.items()})
        line = {
            "key": key(NAME, self._seed), "model": str(base), "floor": FLOOR, "folder": str(self._folder / "inc"),
            "data": str(data),
        }  # fmt: skip
        (told,) = rivals.told_by("inc", "inc_encoder.py", [line], self._folder)
        chosen = Path(told["chosen"] or base)
        sides = [Session(path, "sentence_embedding", 1, 1) for path in (base, chosen)]
        return self._judged(
            "inc", told["what"], bool(told["chosen"]), sides, chosen.stat().st_size / base.stat().st_size, told["rows"],
            told["cpu_seconds"], hashlib.sha256(chosen.read_bytes()).hexdigest(),
        )  # fmt: skip

    def _judged(
        self, rule: str, what: str, certified: bool, sides: Sequence[Any], size: float, rows: int, spent: float,
        digest: str,
    ) -> Judged:  # fmt: skip
        """What is true of it.

        Args:
            sides: the float model of the library, and what was chosen.
            digest: of what was chosen.
        """
        names = f"{rule}-float", digest[:16]
        vectors = [self._vectors(name, side) for name, side in zip(names, sides, strict=True)]
        centring = SimpleNamespace(answer=lambda feed: vectors[0][self._centring])
        reader = Probe().fitted(centring, self.calibration)
        labels = np.asarray(self.truth.labels).astype(str)
        right = [float(reader.match(reader.answers(of[self._true]), labels).mean()) for of in vectors]
        drop = right[0] - right[1]
        return Judged(
            key=key(NAME, self._seed), rule=rule, what=what, certified=certified, drop=round(drop, 6),
            violated=drop > FLOOR + 1e-9, size=size, rows=rows, cpu_seconds=spent, digest=digest[:16],
            latency=in_turns([self._turn(side) for side in sides]) if timed(self._seed) else None,
        )  # fmt: skip

    def _vectors(self, name: str, side: Any) -> NDArray[np.float64]:
        """Of all texts, a text at a time: many draws ship the same model."""
        return remembered(self._known / f"{NAME}-{name}.npy", lambda: side.answer(self._every.feeds))

    def _turn(self, side: Any) -> Callable[[int], float]:
        def turn(shared: int) -> float:
            row = self.truth.take(np.array([shared % len(self.truth)]))
            return statistics.median(side.times(row, 1, 3))

        return turn


def _some(rows: Rows, places: NDArray[np.intp]) -> Rows:
    assert rows.labels is not None
    return Rows(rows.take(places), rows.labels[places])


def exported() -> Path:
    """The encoder as ONNX, as `weigh apply --as onnx` writes it, for any number of texts."""
    source = open_source(minilm.path())
    path = cache_folder() / "compress" / f"{NAME}-{source.digest[:12]}.onnx"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder, replacing(path) as temporary:
            made = written(source, "onnx", Path(folder), "none")
            temporary.write_bytes(material.bare(made.read_bytes()))
    return path

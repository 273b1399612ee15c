"""A TFX pipeline out of a task, and its blessing held against weigh's own verdict of the same constraint.

TFX's Evaluator blesses a model whose *point estimate* clears the floor. weigh asks for evidence: the floor is certified
where the bets against it have grown to 1 / alpha on the same rows (Waudby-Smith and Ramdas, JRSS-B 2024). A model can
be blessed and not be certified; the difference is told.

Source: TFX 1.16, Evaluator and LocalDagRunner (tensorflow.org/tfx).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from weigh.choice import UsageError
from weigh.constraint import Constraint

Verdict: TypeAlias = Literal["met", "not met", "not certain"]
MEASURE = "accuracy"
BUCKETS = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a pipeline.

    Attributes:
        blessed: by TFX: the point estimate clears the floor.
        verdict: weigh's, of the same floor on the same rows.
        accuracy: as TFX's Evaluator has it.
        low, high: weigh's interval for it, at alpha.
        rows: that judged.
        model: the SavedModel that was trained.
        pushed: versions that were pushed.
    """

    blessed: bool
    verdict: Verdict
    accuracy: float
    low: float
    high: float
    rows: int
    model: Path
    pushed: tuple[str, ...]
    floor: float
    alpha: float

    def __str__(self) -> str:
        figures = f"accuracy {self.accuracy:.4f} [{self.low:.4f}, {self.high:.4f}] on {self.rows:,} rows"
        tfx = "TFX blesses the model" if self.blessed else "TFX does not bless the model"
        mine = {
            "met": f"weigh certifies accuracy >= {self.floor:g} at alpha {self.alpha:g}",
            "not met": f"weigh certifies that accuracy >= {self.floor:g} is not met, at alpha {self.alpha:g}",
            "not certain": f"weigh does not certify accuracy >= {self.floor:g} at alpha {self.alpha:g}: these rows do "
            "not tell",
        }[self.verdict]
        why = ""
        if self.blessed and self.verdict != "met":
            why = ". TFX compares the point estimate with the floor; the floor lies within the interval"
        return f"{tfx}; {mine}. {figures}{why}"


def write(
    table: Path, label: str, require: str, folder: Path, *, hidden: int = 16, epochs: int = 10, seed: int = 0
) -> Path:
    """Write a pipeline for a table of numbers: `pipeline.py`, `trainer.py` and the data.

    Args:
        table: rows of numbers, without gaps; the label is a whole number from 0.
        require: ``accuracy >= 0.9``.

    Returns: the file to run, under Python 3.10 with TFX 1.16.0.

    Raises:
        UsageError: the table or the constraint cannot be used.
    """
    import polars as pl

    from weigh.data import DataError
    from weigh.data import require as required

    floor = floor_of(require)
    try:
        frame = required(table).collect()
    except DataError as error:
        raise UsageError(str(error)) from None
    features = _features(frame, table, label)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    frame.select([*features, label]).write_csv(folder / "data" / "rows.csv")
    # CSV tells whole numbers from others by how they are written
    kinds = {name: "int64" if frame[name].dtype.is_integer() else "float32" for name in features}
    known = {
        "label": label, "features": features, "kinds": kinds, "floor": floor, "hidden": hidden, "epochs": epochs,
        "seed": seed, "classes": int(frame[label].cast(pl.Int64).max()) + 1, "buckets": BUCKETS,  # type: ignore[arg-type]
    }  # fmt: skip
    for name in ("trainer", "pipeline"):
        (folder / f"{name}.py").write_text(_rendered(f"tfx_{name}.py.j2", known), encoding="utf-8")
    return folder / "pipeline.py"


def floor_of(require: str) -> float:
    """The floor of a constraint that TFX's Evaluator can hold.

    >>> floor_of("accuracy >= 0.9")
    0.9
    """
    made = Constraint.parse(require)
    if made.measure != MEASURE or made.op != ">=" or made.relative or not 0 < made.bound < 1:
        raise UsageError(f"'{require}' is no floor that a TFX pipeline blesses by; type 'accuracy >= 0.9'")
    return made.bound


def _features(frame: object, table: Path, label: str) -> list[str]:
    import polars as pl

    assert isinstance(frame, pl.DataFrame)
    if label not in frame.columns:
        raise UsageError(f"{table} has no column '{label}' (its columns: {', '.join(frame.columns[:12])}): --label")
    for name in frame.columns:
        column = frame[name]
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise UsageError(f"{table}: the column '{name}' is no number: encode it, or leave it out")
        if column.null_count():
            raise UsageError(f"{table}: the column '{name}' has {column.null_count()} gaps; fill them")
    labels = frame[label].cast(pl.Float64)
    if not ((labels == labels.round()) & (labels >= 0)).all() or labels.n_unique() < 2:
        raise UsageError(f"{table}: '{label}' must be whole numbers from 0, of at least two kinds")
    return [name for name in frame.columns if name != label]


def _rendered(name: str, known: dict[str, object]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(loader=PackageLoader("weigh"), undefined=StrictUndefined, keep_trailing_newline=True)
    return made.get_template(name).render(known)


def run(folder: Path, require: str, alpha: float = 0.05) -> Outcome:
    """Run a pipeline that was written, and hold its blessing against weigh's verdict.

    Raises:
        UsageError: there is no environment with TFX, with what to type.
        RuntimeError: the pipeline ended with an error.
    """
    from weigh.serve.platform._environment import python_of

    words = [str(python_of("tfx")), str(folder / "pipeline.py")]
    own = {**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=own, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"the pipeline in {folder} ended with an error: {' '.join(done.stderr.split())[-800:]}")
    told = json.loads((folder / "told.json").read_text())
    floor = floor_of(require)
    verdict, low, high = judged(told["correct"], floor, alpha)
    return Outcome(
        told["blessed"], verdict, told["accuracy"], low, high, told["rows"], Path(told["model"]),
        tuple(told["pushed"]), floor, alpha,
    )  # fmt: skip


def judged(correct: Sequence[int], floor: float, alpha: float) -> tuple[Verdict, float, float]:
    """Whether answers that are right so often certify a floor, and the interval of their share.

    Args:
        correct: 1 where an answer was right, else 0; in an order that does not depend on that.
        alpha: the chance, at most, that the verdict is wrong.

    >>> judged([1] * 95 + [0] * 5, 0.8, 0.05)[0], judged([1] * 82 + [0] * 18, 0.8, 0.05)[0]
    ('met', 'not certain')
    """
    import numpy as np

    from weigh.scale.series import MeanSeries

    waiting = [[np.random.default_rng(0).permutation(np.asarray(correct, float))], []]
    series = MeanSeries(lambda: waiting.pop(0) if waiting else [], 0.0, 1.0, None)
    series.advance()
    found, enough = series.interval(alpha), -math.log(alpha)
    if series.evidence(floor, 0) >= enough:
        return "met", found.low, found.high
    return ("not met" if series.evidence(floor, 1) >= enough else "not certain"), found.low, found.high

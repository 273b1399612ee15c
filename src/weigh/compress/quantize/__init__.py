"""compress/quantize: which numbers should an ONNX model's weights be kept in?

Options turn the model into another file (an artefact); what is measured is that file, run by ONNX Runtime on the CPU.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from weigh.choice import Bench, Choice, Measure, Needs, Option, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


MOST_ROWS = 32


class QuantizeTask(Task):
    """An ONNX model in one file, labelled rows to judge it on, and how it will be run."""

    model: Path = Field(description="the model, an .onnx file that holds its weights")
    data: Path = Field(
        description="labelled rows: a table, or an .npz with the inputs (X, or an array an input) and the labels"
    )
    trust: bool = Field(
        False, description="unpickle `model` if it is a scikit-learn model in a pickle: that can run any code"
    )
    label: str = Field("y", description="the column (or the array) that holds the right answers")
    inputs: tuple[str, ...] = Field(
        (), description="feature columns in the model's order; all but the label when empty"
    )
    answer: Literal["auto", "label", "scores", "threshold", "value"] = Field(
        "auto",
        description="how an answer is read off the output: the label itself, the column with the greatest score "
        "(probabilities or logits), one score above the threshold, or a number (regression)",
    )
    output: str = Field("", description="the output to read; the only fitting one when empty")
    classes: tuple[str, ...] = Field(
        (), description="the label of each column of scores, where labels are not 0, 1, 2 and so on"
    )
    threshold: float = Field(
        0.5, description="answer=threshold: scores above it say 1 (0.5 for probabilities, 0 for logits)"
    )
    scale: float | None = Field(
        None, gt=0, description="answer=value: the error that counts as wholly wrong, unit of the label"
    )
    calibration: Path | None = Field(
        None, description="rows to calibrate on, without labels; part of `data` when not given"
    )
    calibration_rows: int = Field(
        200, ge=1, description="rows for calibration; neither they nor rows with the same inputs judge"
    )
    held_back: float = Field(0.2, ge=0, le=0.9, description="share of the other rows kept for the confirmation")
    finite: bool = Field(
        False,
        description="what is certified holds for these very rows, all there are, drawn without replacement; else for "
        "rows like them, which takes more of them",
    )
    batch: int = Field(1, ge=1, description="rows that are served, and so answered and timed, in one run")
    threads: int = Field(1, ge=1, description="threads of one session")
    rounds: int = Field(300, ge=1, description="timing rounds of the race; each one also judges its share of the rows")
    runs: int = Field(20, ge=1, description="timed runs of each option in a round")
    warmup: int = Field(5, ge=0, description="runs before the timed ones")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Inputs that an option may look at, none of which judges it.

    Attributes:
        feeds: input name -> values, the first axis being rows.
        batch: the number of rows that the model insists on, None where any will do.
    """

    feeds: Mapping[str, NDArray[np.generic]]
    batch: int | None = None

    def __post_init__(self) -> None:
        for values in self.feeds.values():  # all options calibrate on the same rows: none may write into them
            values.flags.writeable = False

    @property
    def rows(self) -> int:
        return len(next(iter(self.feeds.values())))

    def batches(self) -> Iterator[dict[str, NDArray[np.generic]]]:
        """Feeds for a session, small ones, each with as many rows as the others (calibrators need that)."""
        size = self.batch or next(size for size in range(MOST_ROWS, 0, -1) if self.rows % size == 0)
        for start in range(0, self.rows - size + 1, size):
            yield {name: values[start : start + size] for name, values in self.feeds.items()}


class Quantizer(Option):
    """An option of compress/quantize: writes the model again, with smaller numbers."""

    needs: ClassVar[Needs] = Needs(packages=("onnx>=1.18", "onnxruntime>=1.22"), extra="compress")

    @abstractmethod
    def convert(self, model: Path, calibration: Calibration, folder: Path) -> Path:
        """Write the artefact under `folder` (which exists and is empty), or return `model` itself.

        Args:
            model: the checked .onnx file; it must not be changed.
            calibration: rows to calibrate on.
            folder: where to write; it is moved afterwards, so nothing in it may name its place.

        Raises:
            Unfit: this kind of quantization can do nothing for the model, with the reason.
        """


_ROUNDS = "what disturbs a busy machine for longer than a round makes neighbouring rounds alike"


@final
class Quantize(Choice):
    """compress/quantize"""

    name: ClassVar[str] = "compress/quantize"
    question: ClassVar[str] = "Which numbers should the model's weights be kept in: float32, float16 or int8?"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            name="latency",
            unit="ms",
            better="lower",
            kind="time",
            meaning="median of the runs of one round; in every round all options take turns, in random order, in one "
            "process, on the same rows",
            tolerance=0.05,
        ),
        Measure(
            name="p95",
            unit="ms",
            better="lower",
            kind="quantile",
            q=0.95,
            meaning="time that 95 % of single runs stay under on this machine; one run a round counts, as those of a "
            "round share what disturbs them, so that a limit on it takes 150 rounds or more to certify",
            tolerance=0.05,
            caveat=_ROUNDS,
        ),
        Measure(
            name="accuracy",
            unit="share",
            better="higher",
            kind="mean",
            finite=True,
            meaning="share of validation rows answered rightly; for numbers, 1 - error / scale, and at least 0",
        ),
        Measure(
            name="agreement",
            unit="share",
            better="higher",
            kind="mean",
            finite=True,
            meaning="share of validation rows answered as the original model does; for numbers, 1 - difference / scale",
        ),
        Measure(
            name="size",
            unit="MB",
            better="lower",
            kind="exact",
            meaning="bytes of all files of the artefact / 1,000,000",
        ),
    )
    cost: ClassVar[str] = "size"
    baseline: ClassVar[str] = "none"
    require: ClassVar[tuple[str, ...]] = ("accuracy >= baseline - 0.01",)
    task: ClassVar[type[Task]] = QuantizeTask
    option: ClassVar[type[Option]] = Quantizer
    assumptions: ClassVar[Mapping[str, str]] = {
        "the CPU that serves has the integer instructions of the one that measured": "weigh again where it serves: "
        "both speed and rounding of int8 differ between AVX2, AVX-512 VNNI and ARM",
        "requests come in batches of the size that was timed, one at a time": "the batch sizes that serving logs",
        "inputs keep the range that calibration saw": "monitor/drift on the inputs; int8 clips what lies outside",
        "rows arrive as the validation rows did": "live accuracy against the interval of this decision",
    }

    def open(self, task: QuantizeTask, seed: int) -> Bench:
        from weigh.compress.quantize._bench import QuantizeBench

        return QuantizeBench(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> QuantizeTask:
        from weigh.compress.quantize._toy import write_toy

        return write_toy(folder, seed)

    def loser(self) -> Quantizer:
        from weigh.compress.quantize._planted import Hollow

        return Hollow()

    def twins(self) -> tuple[Quantizer, Quantizer]:
        from weigh.compress.quantize._planted import Jitter

        return Jitter(seed=1), Jitter(seed=2)


def convert(task: QuantizeTask, option: Quantizer, to: Path | str, overwrite: bool = False) -> Path:
    """Write the model that an option makes of a task's: the file that was measured, byte by byte.

    It comes out of the cache, or is made again where the cache was emptied: an option makes the same bytes of the same
    model and rows under the same versions of weigh, onnx and ONNX Runtime. A decision's report has the SHA-256 of each.

    Args:
        task: the task that was decided on; its seed does not matter.
        option: `catalog.find(catalog.choice("compress/quantize"), decision.chosen)`.
        to: the .onnx file to write, whole or not at all; its folder is made. What else the artefact consists of goes
            beside it under the names by which the model knows it.
        overwrite: replace another file of that name. One with the same content is left alone in any case.

    Returns: the path, ready for `onnxruntime.InferenceSession`.

    Raises:
        UsageError: the task cannot be used; or the file exists with other content, or is the task's own model or data.
        Unfit: the option can do nothing for the model.
        OSError: the file cannot be written.
    """
    from weigh.compress.quantize._write import write_model

    return write_model(task, option, Path(to), overwrite)

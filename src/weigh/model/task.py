"""What is asked of a model: the model itself, the examples that judge it, and how it will be served."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from weigh.choice import Option, Task, content_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source

MOST_ROWS = 32


class ModelTask(Task):
    """A model, the examples to judge it on, and how it will be served.

    Which fields matter depends on what the model is: a language model is judged on the text of `data`; a sentence
    encoder on labelled texts; any other on labelled rows.
    """

    model: Path = Field(
        description="the model: a Hugging Face folder, an .onnx, .pt2, .gguf or .safetensors file, or an MLflow URI "
        "(models:/name/1)"
    )
    data: Path = Field(
        description="what judges it: a text for a language model (.txt, .md); otherwise labelled rows: a table, or an "
        ".npz with the inputs (X, or an array an input) and the labels"
    )
    architecture: str = Field(
        "", description="model=weights.safetensors: the code that builds the net, as net.py:build; it is run"
    )
    trust: bool = Field(
        False,
        description="unpickle `model` if it is a scikit-learn model in a pickle: that can run any code",
    )
    label: str = Field("y", description="the column (or the array) that holds the right answers")
    text: str = Field("text", description="the column of texts, for a sentence encoder or a classifier of texts")
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
        None, description="rows or text to calibrate on, without labels; part of `data` when not given"
    )
    calibration_rows: int = Field(
        200, ge=1, description="rows (of text: windows) for calibration; neither they nor equal ones judge"
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
    window: int = Field(64, ge=2, description="text: tokens of one example, the first of which are not judged")
    windows: int = Field(2, ge=1, description="text: examples that judge in one round")
    prompt_tokens: int = Field(16, ge=1, description="text: tokens that a timed request begins with")
    new_tokens: int = Field(8, ge=1, description="text: tokens that a timed request writes, greedily")
    clip: float = Field(
        0.2,
        gt=0,
        description="text: a window's loss or gain of log-likelihood beyond this counts as this, in nats a token; the "
        "less, the fewer windows certify a limit; several nats where badly damaged models are to be told apart",
    )

    def files(self) -> dict[str, Path]:
        """Where each file lies on this machine; an MLflow URI is where its copy lies."""
        from weigh.model.registry import located

        return {name: located(path) for name, path in super().files().items()}

    def fingerprint(self) -> str:
        """SHA-256 over all fields and the content of all files, the code of `architecture` included."""
        file = self.architecture.rpartition(":")[0]
        code = {"architecture": Path(file).read_text()} if file and Path(file).is_file() else {}
        return content_digest([super().fingerprint(), code]) if code else super().fingerprint()


@dataclass(frozen=True, slots=True)
class Calibration:
    """Inputs that an option may look at, none of which judges it.

    Attributes:
        feeds: input name -> values, the first axis being rows. A language model has one, `input_ids`: token windows of
            shape (windows, tokens), int64; an encoder has `attention_mask` beside it.
        batch: the number of rows that the model insists on, None where any will do.
        labels: the right answers of those rows, where they are known.
    """

    feeds: Mapping[str, NDArray[np.generic]]
    batch: int | None = None
    labels: NDArray[Any] | None = field(default=None)

    def __post_init__(self) -> None:
        for values in self.feeds.values():  # all options calibrate on the same rows: none may write into them
            values.flags.writeable = False

    @property
    def rows(self) -> int:
        return len(next(iter(self.feeds.values())))

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Token windows, shape (windows, tokens)."""
        return self.feeds["input_ids"]  # type: ignore[return-value]

    def batches(self) -> Iterator[dict[str, NDArray[np.generic]]]:
        """Feeds for a session, small ones, each with as many rows as the others (calibrators need that)."""
        size = self.batch or next(size for size in range(MOST_ROWS, 0, -1) if self.rows % size == 0)
        for start in range(0, self.rows - size + 1, size):
            yield {name: values[start : start + size] for name, values in self.feeds.items()}


class Converter(Option):
    """An option that makes another model of a model: smaller, faster, or cheaper to keep.

    Attributes:
        packs: the method by which it quantizes a Hugging Face folder, as its config names it: such weights go into no
            ONNX and no GGUF file. Empty where they stay floating-point numbers.
    """

    packs: ClassVar[str] = ""

    @abstractmethod
    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        """Write the artefact under `folder` (which exists and is empty), or return `source.path` itself.

        Args:
            source: the checked model (`source.path`, `source.format`, `source.kind`); it must not be changed.
            calibration: rows to calibrate on.
            folder: where to write; it is moved afterwards, so nothing in it may name its place.

        Returns: a file (.onnx, .pt2) or a Hugging Face folder, which may be `folder` itself.

        Raises:
            Unfit: the option can do nothing for the model, with the reason.
        """

    def reads(self) -> tuple[Path, ...]:
        """Files and folders that its settings name; an artefact depends on what is in them."""
        return ()


class Wrapper(Option):
    """An option that runs a torch model as it is written, in another way: in other numbers, on another device."""

    @abstractmethod
    def wrap(self, module: Any) -> Any:
        """A module that takes and gives what `module` does.

        Args:
            module: a copy of its own, in eval mode and without gradients, which it may change.

        Raises:
            Unfit: it cannot run so here, with the reason.
        """

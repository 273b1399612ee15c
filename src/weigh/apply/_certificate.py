"""The certificate of a step from what was measured to another form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weigh.apply._chosen import Chosen
from weigh.choice import UsageError
from weigh.parity.stage import Stage

if TYPE_CHECKING:
    from weigh.parity import Certificate


class Stated(Stage):
    """A stage whose kind is that of the model that it was made of: a file of one output does not say it."""

    def __init__(self, path: Path, kind: str, architecture: str = "") -> None:
        super().__init__(path, architecture)
        self._stated = kind

    @property
    def kind(self) -> str:
        """language, encoder or classifier."""
        return self._stated


def certified(chosen: Chosen, file: Path, form: str, to: Path) -> Certificate:
    """The certificate, which names files as the user knows them.

    Args:
        file: what was written, where it lies now.
        to: where that file will lie.

    Raises:
        UsageError: it does not answer as what was measured, with the first finding.
    """
    from weigh.parity import Asked, Hop, certify

    result, kind = chosen.result, chosen.result.kind
    if kind == "encoder" and result.outputs[0].name == "scores":
        kind = "classifier"
    before = Stated(result.path, kind, result.architecture)
    if before.source is not None and not before.source.inputs[0].shape:
        before.source = result
    asked = Asked(
        text=chosen.task.data if kind == "language" else None,
        rows=chosen.task.data if chosen.task.data.suffix == ".npz" else None,
        architecture=result.architecture,
    )
    hop = Hop(kind="gguf" if form == "gguf" else "export")
    try:
        after = Stated(file, kind)
    except UsageError as error:
        why = str(error).partition(file.name)[2].split(";")[0].strip()
        raise UsageError(
            f"what {chosen.name} made has no {form} form that runs (it {why[:160]}); leave --as out to take it as it "
            "was measured"
        ) from None
    found = certify(before, after, hop, asked)
    if not found.ok:
        first = found.findings[0]
        raise UsageError(
            f"{chosen.name} as {form} is not what was measured, and nothing was written: {first.what}; leave --as out "
            "to take it as it was measured"
        )
    named = f"{chosen.name} of {chosen.task.model}"
    notes = tuple(note.replace(result.path.name, f"what {chosen.name} made") for note in found.notes)
    return found.model_copy(update={"before": named, "after": str(to), "notes": notes, "seconds": 0.0})

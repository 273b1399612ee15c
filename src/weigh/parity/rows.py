"""Models that answer rows: classifiers of numbers, classifiers of texts, encoders.

An encoder's answer is made one to choose from: of every row, which other row is nearest by cosine. The scores are
20 x cosine, so that they have log-probabilities, a most likely row and a KL as a classifier's do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.parity.certificate import AnswerKind, Behaviour, Divergence, Token
from weigh.parity.probe import TEXTS
from weigh.scale.interval import wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from weigh.model.source import Source
    from weigh.parity.stage import Stage

SHARPNESS = 20.0


def feeds(stage: Stage, path: Path | None, count: int, seed: int) -> dict[str, NDArray[Any]]:
    """Rows for a model: of a file, or texts of our own, or random numbers.

    Raises:
        UsageError: nothing says what a row is, or the file has no such input.
    """
    import numpy as np

    source = stage.source
    assert source is not None
    if path is not None:
        return _of_file(path, source, count)
    if {port.name for port in source.inputs} >= {"input_ids"}:
        return texts(stage, count)
    rng = np.random.default_rng(seed)
    made = {}
    for port in source.inputs:
        shape = port.shape[1:]
        if not shape or None in shape or "float" not in port.type:
            raise UsageError(f"nothing says what rows {stage.path} takes: give some with --rows FILE.npz")
        sizes = [int(size) for size in shape if size]
        made[port.name] = rng.standard_normal((count, *sizes)).astype(np.float32)
    return made


def texts(stage: Stage, count: int) -> dict[str, NDArray[Any]]:
    """Texts of our own, as the stage's tokenizer reads them."""
    if stage.tokenizer is None:
        raise UsageError(
            f"{stage.path} has no tokenizer, so texts cannot be given to it: copy its tokenizer.json there"
        )
    chosen = [TEXTS[at % len(TEXTS)] for at in range(min(count, len(TEXTS)))]
    made = stage.tokenizer(chosen, padding=True, truncation=True, max_length=64, return_tensors="np")
    return {name: made[name] for name in ("input_ids", "attention_mask")}


def _of_file(path: Path, source: Source, count: int) -> dict[str, NDArray[Any]]:
    import numpy as np

    if path.suffix != ".npz" or not path.is_file():
        raise UsageError(f"--rows {path} is no .npz file; write one: numpy.savez('rows.npz', X=X.astype('float32'))")
    with np.load(path, allow_pickle=False) as archive:
        names = [port.name for port in source.inputs]
        if len(names) == 1 and names[0] not in archive.files and "X" in archive.files:
            return {names[0]: archive["X"][:count]}
        if lost := [name for name in names if name not in archive.files]:
            raise UsageError(f"--rows {path} has no array '{lost[0]}', which the model takes; it has {archive.files}")
        return {name: archive[name][:count] for name in names}


def scores(stage: Stage, given: Mapping[str, NDArray[Any]]) -> Tensor:
    """Log-probabilities a row, shape (rows, classes), float32; of an encoder, over the other rows."""
    import torch

    raw = torch.from_numpy(_run(stage, given).astype("float32"))
    raw = raw.reshape(len(raw), -1)
    if answer_of(stage) == "nearest text":
        unit = raw / raw.norm(dim=1, keepdim=True).clamp(min=1e-30)
        near = SHARPNESS * unit @ unit.T
        return torch.log_softmax(near.masked_fill(torch.eye(len(raw), dtype=torch.bool), -1e4), 1)
    if raw.shape[1] == 1:
        raw = torch.cat([torch.zeros_like(raw), raw], 1)
    elif bool((raw >= 0).all()) and bool((raw.sum(1) - 1).abs().max() < 1e-3):
        return raw.clamp(min=1e-30).log()
    return torch.log_softmax(raw, 1)


def answer_of(stage: Stage) -> AnswerKind:
    """What a stage says of a row: a label, or, of what gives vectors, which other text is nearest."""
    vectors = stage.kind == "encoder" and stage.source is not None and stage.source.outputs[0].name != "scores"
    return "nearest text" if vectors else "label"


def _run(stage: Stage, given: Mapping[str, NDArray[Any]]) -> NDArray[np.generic]:
    import torch

    if stage.format == "onnx":
        from weigh.parity.onnx_stage import session

        opened = session(stage.path)
        names = [port.name for port in opened.get_inputs()]
        values = list(given.values())
        fed = dict(given) if set(names) == set(given) else dict(zip(names, values))
        outputs = opened.run(None, fed)
        made: NDArray[np.generic] = next(
            one for one in reversed(outputs) if hasattr(one, "dtype") and one.dtype.kind == "f"
        )
        return made
    tensors = {name: torch.from_numpy(value) for name, value in given.items()}
    with torch.inference_mode():
        if stage.format != "huggingface":
            out = stage.module()(*tensors.values())
            return (out if isinstance(out, torch.Tensor) else out[0]).numpy()
        out = stage.module()(**tensors)
    if hasattr(out, "logits"):
        return out.logits.float().numpy()
    mask = tensors["attention_mask"].unsqueeze(-1).float()
    return ((out.last_hidden_state.float() * mask).sum(1) / mask.sum(1)).numpy()


def compared(before: Tensor, after: Tensor, answer: AnswerKind = "label") -> Behaviour:
    """Labels (or nearest texts) and log-probabilities of the same rows."""
    from weigh.parity.behave import kullback_leibler

    best, other = before.argmax(1), after.argmax(1)
    gap = (before - after).gather(1, best.unsqueeze(1)).abs().squeeze(1).double()
    kl = kullback_leibler(before, after)
    same = int((best == other).sum())
    low, high = wilson(same, len(best))
    first = next((row for row in range(len(best)) if best[row] != other[row]), None)
    return Behaviour(
        unit="row",
        answer=answer,
        prompts=len(best),
        identical=same,
        greedy_tokens=len(best),
        units=len(best),
        agreement=same / len(best),
        agreement_low=low,
        agreement_high=high,
        gap_mean=float(gap.mean()),
        gap_p99=float(gap.quantile(0.99)),
        gap_max=float(gap.max()),
        kl_mean=float(kl.mean()),
        kl_max=float(kl.max()),
        divergence=None if first is None else _divergence(before, after, first),
    )


def _divergence(before: Tensor, after: Tensor, row: int) -> Divergence:
    def token(of: Tensor) -> Token:
        one = int(of[row].argmax())
        return Token(id=one, before=float(before[row, one]), after=float(after[row, one]))

    return Divergence(prompt=row, position=0, before=token(before), after=token(after))

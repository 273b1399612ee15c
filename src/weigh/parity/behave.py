"""What two stages answer to the same tokens: greedy tokens, log-probabilities, KL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weigh.parity.certificate import Behaviour, Divergence, Token
from weigh.parity.probe import Probe
from weigh.scale.interval import wilson

if TYPE_CHECKING:
    from torch import Tensor

    from weigh.parity.stage import Answer

_ROWS = 8


def logprobs(answer: Answer, probe: Probe) -> Tensor:
    """Log-probabilities at every place of `probe.places()`, shape (places, vocabulary), float32."""
    import torch

    parts = []
    for start in range(0, len(probe.ids), _ROWS):
        ids, mask, ends = probe.part(start, start + _ROWS)
        logits = answer(ids, mask)
        for row, end in enumerate(ends):
            parts.append(torch.log_softmax(logits[row, : end - 1], -1))
    return torch.cat(parts)


def compared(before: Tensor, after: Tensor, probe: Probe, tok: Any = None) -> Behaviour:
    """The behaviour of two stages, from their log-probabilities at the same places.

    Greedy tokens are compared as far as they follow what the probe holds; at the first token where the stage before
    would write another, both are compared once more and the prompt ends.
    """
    width = min(before.shape[1], after.shape[1])
    before, after = before[:, :width], after[:, :width]
    rows, at = probe.places()
    right = probe.ids[rows, at + 1].clamp(max=width - 1).unsqueeze(1)
    gap = (before.gather(1, right) - after.gather(1, right)).abs().squeeze(1).double()
    kl = kullback_leibler(before, after)
    best, other = before.argmax(1), after.argmax(1)
    same = int((best == other).sum())
    low, high = wilson(same, len(best))
    identical, tokens, first = _greedy(best, other, probe)
    return Behaviour(
        unit="token",
        prompts=len(probe.starts),
        identical=identical,
        greedy_tokens=tokens,
        units=len(best),
        agreement=same / len(best),
        agreement_low=low,
        agreement_high=high,
        gap_mean=float(gap.mean()),
        gap_p99=float(gap.quantile(0.99)),
        gap_max=float(gap.max()),
        kl_mean=float(kl.mean()),
        kl_max=float(kl.max()),
        divergence=_divergence(before, after, probe, first, tok) if first else None,
    )


def kullback_leibler(before: Tensor, after: Tensor) -> Tensor:
    """KL(before || after) a row of log-probabilities, nats, not below 0."""
    import torch

    parts = [
        (one.exp() * (one - other)).sum(1, dtype=torch.float64)
        for one, other in zip(before.split(256), after.split(256), strict=True)
    ]
    return torch.cat(parts).clamp(min=0)


def _greedy(best: Tensor, other: Tensor, probe: Probe) -> tuple[int, int, tuple[int, int, int] | None]:
    """Prompts with the same tokens, tokens compared, and the first place that parts: prompt, position, row of both."""
    identical, tokens, offset = 0, 0, 0
    first: tuple[int, int, int] | None = None
    for prompt, (start, end) in enumerate(zip(probe.starts, probe.ends, strict=True)):
        parted = False
        for at in range(start - 1, end - 1):
            place = offset + at
            tokens += 1
            if best[place] != other[place]:
                parted = True
                first = first or (prompt, at - start + 1, place)
                break
            if best[place] != probe.ids[prompt, at + 1]:
                break
        identical += not parted
        offset += end - 1
    return identical, tokens, first


def _divergence(before: Tensor, after: Tensor, probe: Probe, first: tuple[int, int, int], tok: Any) -> Divergence:
    prompt, position, place = first

    def token(of: Tensor) -> Token:
        one = int(of[place].argmax())
        text = "" if tok is None else str(tok.decode([one]))
        return Token(id=one, text=text, before=float(before[place, one]), after=float(after[place, one]))

    text = "" if tok is None else str(tok.decode(probe.ids[prompt, : probe.starts[prompt]].tolist()))
    return Divergence(prompt=prompt, text=text, position=position, before=token(before), after=token(after))

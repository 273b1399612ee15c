"""What rounding each block of a transformer alone costs, on calibration windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weigh.compress.quantize._packing import nearest
from weigh.compress.quantize._solve import first
from weigh.model.layers import need_blocks
from weigh.model.packed import Scheme
from weigh.model.task import Calibration
from weigh.model.walk import batches, run

if TYPE_CHECKING:
    import torch


def harm_of_blocks(net: Any, calibration: Calibration, windows: int, scheme: Scheme) -> dict[str, float]:
    """By the name of a block: nats a token that a language model loses when that block alone is rounded to the nearest.

    Of an encoder: 1 - the cosine of what comes out with what came out before. The net is left as it was.

    Raises:
        Unfit: it has no blocks, or there are no calibration rows.
    """
    import torch

    names = {one: name for name, one in net.named_modules()}
    some = first(calibration, windows)
    harm = {}
    with torch.no_grad():
        before = _said(net, some)
        for block in need_blocks(net, "mixed"):
            layers = [one for one in block.modules() if isinstance(one, torch.nn.Linear)]
            weights = [one.weight.clone() for one in layers]
            for one in layers:
                one.weight.copy_(nearest(one.weight, scheme).weight)
            harm[names[block]] = _worse(net, before, _said(net, some))
            for one, weight in zip(layers, weights):
                one.weight.copy_(weight)
    return harm


def _said(net: Any, some: Calibration) -> torch.Tensor:
    """The log-likelihood of each token, or what comes out of an encoder, row after row."""
    import torch

    said = []
    for feed in batches(some):
        out = run(net, feed)
        if hasattr(net, "generate"):
            scores = out.logits[:, :-1].float().log_softmax(-1)
            said.append(scores.gather(2, feed["input_ids"][:, 1:, None]).flatten())
        else:
            whole = out.last_hidden_state if hasattr(out, "last_hidden_state") else out.logits
            said.append(whole[feed["attention_mask"].bool()] if whole.dim() == 3 else whole)
    return torch.cat(said)


def _worse(net: Any, before: torch.Tensor, after: torch.Tensor) -> float:
    import torch

    if hasattr(net, "generate"):
        return float((before - after).mean())
    return float(1 - torch.nn.functional.cosine_similarity(before, after, dim=-1).mean())

"""Which layer differs: each is fed with what the stage before gave it, so that an error stays where it arises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.parity.certificate import Layers
from weigh.parity.probe import Probe

if TYPE_CHECKING:
    from torch import Tensor

_SEQUENCES = 4


def blocks(module: Any) -> list[Any]:
    """The layers of a transformer, in order: its longest list of modules of one class; empty where it has none."""
    from torch import nn

    lists = [part for part in module.modules() if isinstance(part, nn.ModuleList) and len(part) > 1]
    lists = [part for part in lists if len({type(one) for one in part}) == 1]
    return list(max(lists, key=len, default=()))


def compared(before: Any, after: Any, probe: Probe, tolerance: float) -> Layers | None:
    """Errors of single layers; None where the stages have no layers, or not as many.

    The error of a layer is ||after - before|| / ||before - input||, the norm being over what the layer adds to the
    residual stream of one token; of tokens the median is taken.
    """
    ours, theirs = blocks(before), blocks(after)
    if not ours or len(ours) != len(theirs):
        return None
    ids, mask, _ = probe.part(0, _SEQUENCES)
    given, gave = _recorded(before, ours, ids, mask)
    if any(one.shape != other.shape for one, other in zip(given, gave, strict=True)):
        return None
    made = _fed(after, theirs, ids, mask, given)
    if any(one.shape != other.shape for one, other in zip(made, gave, strict=True)):
        return None
    return _judged(given, gave, made, mask, tolerance)


def states(of: Any, probe: Probe) -> list[Tensor] | None:
    """What each layer of a module, or of an ONNX file, puts out; None where it shows no layers."""
    ids, mask, _ = probe.part(0, _SEQUENCES)
    if isinstance(of, Path):
        from weigh.parity.onnx_stage import hidden

        return hidden(of, ids, mask)
    parts = blocks(of)
    return _recorded(of, parts, ids, mask)[1] if parts else None


def in_a_row(before: list[Tensor], after: list[Tensor], probe: Probe, tolerance: float) -> Layers | None:
    """Errors of layers that could not be fed alone: an error goes on to later ones, so the first counts."""
    shapes = [{tuple(one.shape) for one in states} for states in (before, after)]
    if len(before) != len(after) or shapes[0] != shapes[1]:
        return None
    starts = [before[0] * 0, *before[:-1]]
    return _judged(starts, before, after, probe.part(0, _SEQUENCES)[1], tolerance)


def _judged(given: list[Tensor], gave: list[Tensor], made: list[Tensor], mask: Tensor, tolerance: float) -> Layers:
    import torch

    real, errors = mask.bool(), []
    for start, right, found in zip(given, gave, made, strict=True):
        size = (right - start)[real].norm(dim=-1).clamp(min=1e-30)
        error = ((found - right)[real].norm(dim=-1) / size).median()
        errors.append(float(torch.nan_to_num(error, nan=1e30, posinf=1e30)))
    first = next((at for at, error in enumerate(errors) if error > tolerance), None)
    return Layers(tolerance=tolerance, errors=tuple(errors), first=first)


def _hidden(out: Any) -> Tensor:
    hidden: Tensor = out[0] if isinstance(out, tuple) else out
    return hidden


def _run(module: Any, ids: Tensor, mask: Tensor) -> None:
    import torch

    with torch.inference_mode():
        module(input_ids=ids, attention_mask=mask, **({} if not hasattr(module, "lm_head") else {"use_cache": False}))


def _recorded(module: Any, parts: list[Any], ids: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    given: list[Tensor] = []
    gave: list[Tensor] = []

    def hook(part: Any, inputs: tuple[Any, ...], named: dict[str, Any], out: Any) -> None:
        given.append((inputs[0] if inputs else named["hidden_states"]).float().clone())
        gave.append(_hidden(out).float().clone())

    hooks = [part.register_forward_hook(hook, with_kwargs=True) for part in parts]
    _run(module, ids, mask)
    for one in hooks:
        one.remove()
    return given, gave


def _fed(module: Any, parts: list[Any], ids: Tensor, mask: Tensor, given: list[Tensor]) -> list[Tensor]:
    made: list[Tensor] = []

    def feed(at: int) -> Any:
        def hook(part: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
            if not inputs:
                return (), {**named, "hidden_states": given[at].to(named["hidden_states"].dtype)}
            return (given[at].to(inputs[0].dtype), *inputs[1:]), named

        return hook

    def keep(part: Any, inputs: Any, out: Any) -> None:
        made.append(_hidden(out).float().clone())

    hooks = [part.register_forward_pre_hook(feed(at), with_kwargs=True) for at, part in enumerate(parts)]
    hooks += [part.register_forward_hook(keep) for part in parts]
    _run(module, ids, mask)
    for one in hooks:
        one.remove()
    return made

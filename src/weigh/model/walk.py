"""Walking through a net from its input to its output, with what each layer is given when all before it are pruned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from weigh.choice import Unfit
from weigh.model.layers import blocks, layers, need_layers
from weigh.model.task import Calibration

if TYPE_CHECKING:
    import torch

    Gather: TypeAlias = Callable[[Any, torch.Tensor], torch.Tensor]
    """From a layer and some of its inputs to a sum over them, which adds up over batches."""

ROWS = 16
"""Calibration rows of one batch."""


@dataclass(slots=True)
class Entering:
    """What a block is given: its hidden states, shape (rows, tokens, width), and everything else."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def after(self, block: Any) -> Entering:
        """What the next block is given."""
        out = block(*self.args, **self.kwargs)
        hidden = out[0] if isinstance(out, tuple) else out
        if self.args:
            return Entering((hidden, *self.args[1:]), self.kwargs)
        return Entering((), {**self.kwargs, "hidden_states": hidden})


def walk(net: Any, calibration: Calibration, gather: Gather) -> Iterator[dict[Any, torch.Tensor]]:
    """The layers of each block in turn, with what was gathered of their inputs; of other nets one layer at a time.

    The caller prunes them in place before it goes on: what comes after is given what the pruned layers say.

    Raises:
        Unfit: there are no layers, or the blocks are of several kinds.
    """
    import torch

    need_layers(net)
    parts = blocks(net)
    with torch.no_grad():
        yield from _by_block(net, parts, calibration, gather) if parts else _by_layer(net, calibration, gather)


def _by_block(net: Any, parts: Any, calibration: Calibration, gather: Gather) -> Iterator[dict[Any, torch.Tensor]]:
    if len(set(getattr(net.config, "layer_types", None) or ())) > 1:
        raise Unfit("its blocks attend in several ways (sliding windows among them), which is not walked through yet")
    feeds = list(batches(calibration))
    states = [entering(net, parts[0], feed) for feed in feeds]
    for block in parts:
        with watching(layers(block).values(), gather) as (found, masked):
            for place, feed in enumerate(feeds):
                masked(feed.get("attention_mask"))
                states[place].after(block)
        yield found
        states = [state.after(block) for state in states]


def _by_layer(net: Any, calibration: Calibration, gather: Gather) -> Iterator[dict[Any, torch.Tensor]]:
    feeds = list(batches(calibration))
    for layer in in_order(net, feeds[0]):
        with watching([layer], gather) as (found, _):
            for feed in feeds:
                run(net, feed)
        yield found


def in_order(net: Any, feed: Mapping[str, torch.Tensor]) -> list[Any]:
    """The layers that a net uses, in the order in which it uses them."""
    import torch

    used: dict[Any, None] = {}
    hooks = [layer.register_forward_hook(lambda one, *_: used.setdefault(one)) for layer in layers(net).values()]
    try:
        with torch.no_grad():
            run(net, feed)
    finally:
        for hook in hooks:
            hook.remove()
    return list(used)


def run(net: Any, feed: Mapping[str, torch.Tensor]) -> Any:
    """The net on a batch: a Hugging Face model by the names of its inputs, another by its only input."""
    if "input_ids" not in feed:
        return net(next(iter(feed.values())))
    return net(**feed, use_cache=False) if hasattr(net, "generate") else net(**feed)


def batches(calibration: Calibration) -> Iterator[dict[str, torch.Tensor]]:
    """The calibration rows as tensors, some at a time."""
    import torch

    step = calibration.batch or ROWS
    for start in range(0, calibration.rows, step):
        rows = slice(start, start + step)
        part = {name: torch.from_numpy(values[rows].copy()) for name, values in calibration.feeds.items()}
        if calibration.batch is None or len(next(iter(part.values()))) == step:
            yield part


class _Enough(Exception):
    """Ends a run of the net at its first block."""


def entering(net: Any, first: Any, feed: Mapping[str, torch.Tensor]) -> Entering:
    """What the first block is given of a batch; nothing after it is run."""
    caught: list[Entering] = []

    def catch(block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught.append(Entering(args, kwargs))
        raise _Enough

    hook = first.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        run(net, feed)
    except _Enough:
        return caught[0]
    finally:
        hook.remove()
    raise Unfit("its first block is never run, so that nothing can be calibrated")


@contextmanager
def watching(parts: Any, gather: Gather) -> Iterator[tuple[dict[Any, torch.Tensor], Callable[[Any], None]]]:
    """Adds up what is gathered of the inputs of layers; the second thing says which tokens are no padding."""
    found: dict[Any, torch.Tensor] = {}
    mask: list[Any] = [None]

    def see(layer: Any, args: tuple[Any, ...]) -> None:
        inputs = args[0]
        if mask[0] is not None and inputs.shape[:2] == mask[0].shape:
            inputs = inputs[mask[0].bool()]
        new = gather(layer, inputs)
        found[layer] = found[layer] + new if layer in found else new

    hooks = [layer.register_forward_pre_hook(see) for layer in parts]
    try:
        yield found, lambda now: mask.__setitem__(0, now)
    finally:
        for hook in hooks:
            hook.remove()

"""Guesses of the model's own first layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

from pydantic import Field

from weigh.choice import Unfit
from weigh.serve.decoding import Decoder, Served, Session
from weigh.serve.decoding._greedy import Drafting, Speculative
from weigh.serve.decoding._llama import CompiledRunner, packed
from weigh.serve.decoding._runner import ModuleRunner


@final
class SelfSpeculation(Decoder):
    """The model's own first layers guess, through its own head; the whole model tests the guesses.

    Good for models that were trained to exit early: no second model is needed, weights are shared, and the tokens are
    those of plain greedy decoding.

    Bad for all others, whose early layers do not know yet what the last will say: hardly a guess is taken.

    Source: Elhoushi et al., LayerSkip (arXiv 2404.16710); Zhang et al., Draft & Verify (arXiv 2309.08168).
    """

    layers: int = Field(0, ge=0, description="first layers that guess; two thirds of all when 0")
    ahead: int = Field(2, ge=1, description="tokens that are guessed at once")
    compiled: bool = Field(False, description="as of static_cache: compile the step, of both")

    def open(self, served: Served) -> Session:
        from transformers import DynamicCache

        whole, count = served.module, self.layers
        depth = whole.config.num_hidden_layers
        count = count or max(1, 2 * depth // 3)
        if count >= depth:
            raise Unfit(
                f"layers={self.layers} of {depth} is the whole model: let fewer guess, such as layers={depth // 2}"
            )
        part = first_layers(whole, count)
        if self.compiled:
            weights = packed(whole)
            few = replace(weights, layers=weights.layers[:count])
            guess = CompiledRunner(part, few, served.room, (1, 2))
            test = CompiledRunner(whole, weights, served.room, (1, self.ahead + 1))
            return Speculative(test, Drafting(guess), self.ahead)
        eager = [ModuleRunner(net, lambda net=net: DynamicCache(config=net.config)) for net in (whole, part)]  # type: ignore[misc]
        return Speculative(eager[0], Drafting(eager[1]), self.ahead)


def first_layers(module: Any, count: int) -> Any:
    """A model of the first `count` layers of another, with its norm and head; all weights are shared.

    Raises:
        Unfit: the model is not built of `model.layers`, as transformers' decoders are.
    """
    import copy

    import torch

    inner = getattr(module, "model", None)
    if not isinstance(getattr(inner, "layers", None), torch.nn.ModuleList):
        raise Unfit(f"{type(module).__name__} does not keep its layers in model.layers, so none can be left out")
    config = copy.deepcopy(module.config)
    config.num_hidden_layers = count
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:count]
    with torch.device("meta"):
        small = type(module)(config)
    assert inner is not None
    for name, child in inner.named_children():
        setattr(small.model, name, child if name != "layers" else torch.nn.ModuleList(child[:count]))
    small.lm_head = module.lm_head
    return small.eval()

"""One torch net for each kind of model: tensors in the order of the inputs, one table of answers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.model.module import load_module, need_torch
from weigh.model.source import embeds

if TYPE_CHECKING:
    from weigh.model.source import Source


def load_net(source: Source, who: str) -> Any:
    """The model as a module in float32 that takes its inputs as tensors and gives (rows, width).

    Args:
        who: names the runtime in the refusal of a model that is no torch module.

    Raises:
        Unfit: the model is an ONNX file.
    """
    if source.format != "gguf":
        need_torch(source, who)
    return as_net(load_module(source, "float32" if source.format == "huggingface" else ""), source)


def as_net(module: Any, source: Source) -> Any:
    """A module wrapped so that it answers: next-token logits, vectors of length one, or scores."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = _answer(self.module, source, given)
            return made

    class OneInput(Net):
        def forward(self, X: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return super().forward(X)

    class TwoInputs(Net):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return super().forward(input_ids, attention_mask)

    net = (TwoInputs if source.kind == "encoder" else OneInput)()
    net.training = False  # `eval()` would also ask the module, which is so already, and an archive's refuses
    return net.requires_grad_(False)


def _answer(module: Any, source: Source, given: tuple[Any, ...]) -> Any:
    if source.kind == "language":
        return module(input_ids=given[0], use_cache=False, logits_to_keep=1).logits[:, -1]
    if source.kind == "classifier":
        made = module(given[0])
        if not hasattr(made, "reshape"):
            raise UsageError(f"the net of {source.path} gives {type(made).__name__}, not one tensor of scores")
        return made.reshape(made.shape[0], -1)
    out = module(input_ids=given[0], attention_mask=given[1])
    return _pooled(out.last_hidden_state, given[1]) if embeds(source) else out.logits


def _pooled(hidden: Any, mask: Any) -> Any:
    """The mean of the states of real tokens, brought to length one; operators that every exporter knows."""
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
    return mean / (mean * mean).sum(1, keepdim=True).sqrt().clamp(min=1e-12)


def names_of(source: Source) -> tuple[str, ...]:
    """The inputs, in the order in which the net takes them."""
    if source.kind == "language":
        return ("input_ids",)
    return ("input_ids", "attention_mask") if source.kind == "encoder" else tuple(one.name for one in source.inputs)

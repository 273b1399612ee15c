"""A model that reads tokens and says what comes greedily after each; what was read is kept in a cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Runner(ABC):
    """Reads a row of tokens bit by bit, and can forget the last of them."""

    held: int
    """Tokens that were read and not forgotten."""

    @abstractmethod
    def read(self, prompt: Sequence[int]) -> int:
        """Forget everything, read a prompt, and say what comes after it."""

    @abstractmethod
    def feed(self, tokens: Sequence[int]) -> list[int]:
        """Read on, and say what comes after each of these tokens."""

    @abstractmethod
    def keep(self, count: int) -> None:
        """Forget all but the first `count` tokens."""

    @abstractmethod
    def cache_bytes(self) -> int:
        """Bytes of the tensors that hold keys and values."""

    @abstractmethod
    def kept(self) -> list[torch.Tensor]:
        """Tensors that are held between answers."""


class ModuleRunner(Runner):
    """A transformers model as it is, with one of transformers' caches.

    Args:
        module: a causal language model.
        cache: makes an empty cache.
    """

    def __init__(self, module: Any, cache: Callable[[], Any]) -> None:
        self.module, self._empty = module, cache
        self.held = 0
        self.cache: Any = None

    def read(self, prompt: Sequence[int]) -> int:
        self.cache, self.held = self._empty(), 0
        return self._run(prompt, 1)[0]

    def feed(self, tokens: Sequence[int]) -> list[int]:
        return self._run(tokens, len(tokens))

    def _run(self, tokens: Sequence[int], last: int) -> list[int]:
        import torch

        ids = torch.tensor([tokens])
        places = torch.arange(self.held, self.held + len(tokens))[None]
        out = self.module(
            input_ids=ids, position_ids=places, past_key_values=self.cache, use_cache=True, logits_to_keep=last
        )
        self.held += len(tokens)
        said: list[int] = out.logits[0].argmax(-1).tolist()
        return said

    def keep(self, count: int) -> None:
        if count < self.held and self.cache is not None:
            for layer in self.cache.layers:
                length = getattr(layer, "cumulative_length", None)
                if length is None:
                    layer.crop(count - self.held)
                else:
                    length.fill_(count)
        self.held = count

    def kept(self) -> list[torch.Tensor]:
        return list(self.module.parameters())

    def cache_bytes(self) -> int:
        return sum(bytes_of(layer) for layer in self.cache.layers) if self.cache is not None else 0


def bytes_of(layer: Any) -> int:
    """Bytes of the tensors of one layer of a transformers cache, those of quantized tensors inside included."""
    kept = (getattr(layer, name, None) for name in ("keys", "values", "_quantized_keys", "_quantized_values"))
    return sum(_bytes(tensor) for tensor in kept if tensor is not None)


def _bytes(tensor: Any) -> int:
    inner = getattr(tensor, "__tensor_flatten__", None)
    if inner is None:
        return int(tensor.numel() * tensor.element_size())
    return sum(_bytes(getattr(tensor, name)) for name in inner()[0])

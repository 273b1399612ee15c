"""Modules around a module: what runs within autocast, and what runs on another device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def within(module: Any, context: Callable[[], AbstractContextManager[Any]]) -> Any:
    """The module, every call of it inside a context."""
    import torch

    class Within(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *given: Any, **named: Any) -> Any:
            with context():
                return self.inner(*given, **named)

    return _evaluating(Within(module))


def autocast(module: Any, dtype: str) -> Any:
    """Products of matrices in `dtype`, sums and norms in float32, weights kept as they are."""
    import torch

    numbers = getattr(torch, dtype)
    return within(module, lambda: torch.autocast("cpu", numbers, cache_enabled=False))


def cast(module: Any, dtype: str) -> Any:
    """Everything in `dtype`."""
    import torch

    return module.to(getattr(torch, dtype))


def on_gpu(module: Any, context: Callable[[], AbstractContextManager[Any]]) -> Any:
    """The module on an NVIDIA GPU, inside a context; tensors go there and come back."""
    import torch

    class OnGpu(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *given: Any, **named: Any) -> Any:
            with context():
                made = self.inner(*moved(given, "cuda"), **moved(named, "cuda"))
            return moved(made, "cpu")

    return _evaluating(OnGpu(module.to("cuda")))


def _evaluating(shell: Any) -> Any:
    """The shell in eval mode, as what it holds is already: the module of an archive (.pt2) refuses to be told again."""
    shell.training = False
    return shell


def moved(value: Any, device: str) -> Any:
    """Every tensor of a nested value on a device; what else there is (a cache of keys and values) stays."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict) and type(value) is not dict:  # what transformers returns, a mapping with attributes
        return type(value)(**{name: moved(one, device) for name, one in value.items()})
    if isinstance(value, dict):
        return {name: moved(one, device) for name, one in value.items()}
    return tuple(moved(one, device) for one in value) if isinstance(value, tuple) else value

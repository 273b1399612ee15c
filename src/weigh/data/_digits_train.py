"""Train the net of the digits: the same weights each time on the same computer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EPOCHS, BATCH, RATE, SEED = 10, 50, 5e-3, 0


def train(X: NDArray[np.float32], y: NDArray[np.int64]) -> Any:
    """A trained net in eval mode: AdamW with one cycle of the learning rate, each batch moved by up to two pixels.

    Args:
        X: pictures, (n, 1, 28, 28) in [0, 1].
        y: what they show, n digits.
    """
    import torch

    from weigh.data._digits_net import build

    with _one_thread(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(SEED)
        net = build()
        steps = EPOCHS * -(-len(X) // BATCH)
        optimizer = torch.optim.AdamW(net.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for pictures, digits in _batches(torch.from_numpy(X), torch.from_numpy(y)):
            loss = torch.nn.functional.cross_entropy(net(pictures), digits)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval().requires_grad_(False)


def _batches(X: Any, y: Any) -> Iterator[tuple[Any, Any]]:
    import torch

    for _ in range(EPOCHS):
        for places in torch.randperm(len(X)).split(BATCH):
            down, right = torch.randint(-2, 3, (2,)).tolist()
            yield torch.roll(X[places], (down, right), (2, 3)), y[places]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that the weights are the same each time."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

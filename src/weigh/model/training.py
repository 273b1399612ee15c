"""Training on rows: a small loop that gives the same weights for the same seed and goes on where it was killed.

The order of rows is a function of seed and step, and so is every random draw of a step, so that a checkpoint needs to
hold weights and the optimizer's moments alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field

from weigh.choice import Unfit, UsageError
from weigh.data.cache import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Loss: TypeAlias = "Callable[[NDArray[np.intp], int], Any]"
    """From the places of a batch's rows and the step to the loss, a tensor of one number."""

Progress: TypeAlias = "Callable[[int, float], None]"
"""Told after each step: how many are done, and the loss of the last."""

Numbers: TypeAlias = Annotated[
    Literal["bfloat16", "float32"],
    Field(
        description="numbers of matrix products in training; CPUs without instructions for bfloat16 are faster in "
        "float32"
    ),
]
"""A setting of options that train, as `Plan.numbers`."""

CHECKPOINT_SECONDS = 60.0
DECAY = 0.01
BETAS = (0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast a net is trained: AdamW, linear warm-up, then a cosine down to a tenth of the rate.

    Attributes:
        steps: updates of the weights.
        batch: rows of one update; each row comes once before any comes again.
        rate: the greatest learning rate.
        warmup: share of the steps in which the rate rises.
        clip: the greatest norm of a gradient.
        seed: of the order of rows and of all that is drawn in training.
        numbers: of matrix products; weights, losses and the optimizer stay in float32.
    """

    steps: int = 60
    batch: int = 8
    rate: float = 5e-4
    warmup: float = 0.1
    clip: float = 1.0
    seed: int = 0
    numbers: Literal["float32", "bfloat16"] = "float32"

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0.

        >>> plan = Plan(steps=100, rate=1.0)
        >>> [round(plan.rate_at(step), 3) for step in (0, 9, 54, 99)]
        [0.1, 1.0, 0.558, 0.1]
        """
        rising = max(1, round(self.steps * self.warmup))
        if step < rising:
            return self.rate * (step + 1) / rising
        done = (step - rising) / max(1, self.steps - 1 - rising)
        return self.rate * (0.1 + 0.9 * (1 + math.cos(math.pi * min(1.0, done))) / 2)

    def places(self, step: int, rows: int) -> NDArray[np.intp]:
        """Which rows a step trains on, shape (batch,).

        >>> sorted(Plan(batch=4).places(0, 8).tolist() + Plan(batch=4).places(1, 8).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7]
        """
        import numpy as np

        wanted = np.arange(step * self.batch, (step + 1) * self.batch)
        orders = {
            int(epoch): np.random.default_rng([self.seed, int(epoch)]).permutation(rows)
            for epoch in set((wanted // rows).tolist())
        }
        return np.array([orders[place // rows][place % rows] for place in wanted.tolist()], dtype=np.intp)


def train(
    net: Any,
    loss: Loss,
    rows: int,
    plan: Plan,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    tally: dict[str, int] | None = None,
) -> list[float]:
    """Train all weights of a net in place; it is left without gradients, in eval mode.

    Args:
        net: a `torch.nn.Module`, trained in the mode in which it comes.
        loss: of the rows at some places.
        checkpoint: a file that holds the run about every minute, and is taken up again; it is removed at the end.
        tally: what `loss` counts; it is kept with the checkpoint, so that nothing is lost of it or counted twice.

    Returns: the loss of each step.

    Raises:
        UsageError: there are no rows.
        Unfit: the loss is no number any more.
    """
    import torch

    if not rows:
        raise UsageError("there is nothing to train on: the calibration set is empty; give rows (calibration_rows=200)")
    net.requires_grad_(True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=plan.rate, betas=BETAS, weight_decay=DECAY)
    tally = {} if tally is None else tally
    losses = _resumed(net, optimizer, plan, checkpoint, tally)
    saved = time.monotonic()
    for step in range(len(losses), plan.steps):
        losses.append(_step(net, optimizer, loss, rows, plan, step))
        if progress:
            progress(step + 1, losses[-1])
        if checkpoint and step + 1 < plan.steps and time.monotonic() - saved >= CHECKPOINT_SECONDS:
            _keep(checkpoint, net, optimizer, {"plan": asdict(plan), "losses": losses, "tally": tally})
            saved = time.monotonic()
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    net.zero_grad(set_to_none=True)
    net.eval().requires_grad_(False)
    return losses


def _step(net: Any, optimizer: Any, loss: Loss, rows: int, plan: Plan, step: int) -> float:
    import torch

    for group in optimizer.param_groups:
        group["lr"] = plan.rate_at(step)
    optimizer.zero_grad(set_to_none=True)
    low = plan.numbers == "bfloat16"
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", torch.bfloat16, enabled=low):
        torch.manual_seed(plan.seed * 1_000_003 + step)
        value = loss(plan.places(step, rows), step)
    found = float(value.detach())
    if not math.isfinite(found):
        raise Unfit(f"training diverged: the loss is {found} at step {step + 1}; take a smaller rate than {plan.rate}")
    value.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), plan.clip)
    optimizer.step()
    return found


def _keep(checkpoint: Path, net: Any, optimizer: Any, state: dict[str, Any]) -> None:
    import torch

    with replacing(checkpoint) as temporary:
        torch.save({**state, "net": net.state_dict(), "optimizer": optimizer.state_dict()}, temporary)


def _resumed(net: Any, optimizer: Any, plan: Plan, checkpoint: Path | None, tally: dict[str, int]) -> list[float]:
    """The losses of the steps that a killed run of the same plan had made; net and optimizer are as it left them."""
    import torch

    if checkpoint is None or not checkpoint.is_file():
        return []
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if state["plan"] != asdict(plan):
        return []
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    tally.update(state["tally"])
    return list(state["losses"])

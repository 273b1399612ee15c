"""What the choice is tested with: the toy task, the planted loser and the twins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from weigh.serve.rollout import Outcome, Release, RolloutTask
from weigh.serve.rollout._judged import judged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.serve.rollout._traffic import Seen, Traffic

REQUESTS = 9_000


def toy(folder: Path, seed: int = 0) -> RolloutTask:
    """A day of 9,000 requests, whose errors and conversions drift; regressions of 10 points."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(seed)
    hour = np.sort(rng.uniform(0.0, 24.0, REQUESTS))
    failing = 0.04 + 0.02 * np.sin(hour / 24.0 * 2 * np.pi)
    buying = 0.3 + 0.05 * np.sin(hour / 12.0 * 2 * np.pi)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "requests.parquet"
    columns = {
        "second": hour * 3600.0,
        "failed": (rng.random(REQUESTS) < failing).astype(np.int64),
        "bought": (rng.random(REQUESTS) < buying).astype(np.int64),
    }
    pl.DataFrame(columns).write_parquet(path)
    return RolloutTask(
        history=path, time="second", error="failed", metric="bought", regressions=(0.1,),
        guardrails=("error <= baseline + 0.05", "bought >= baseline - 0.05"), days=0.99, ticks=24,
        stages=(0.05, 0.25, 0.5, 1.0), replays=40,
    )  # fmt: skip


class Hasty(Release):
    """A canary of 5 % that is shipped at the first tick at which no z-test at .05 finds it worse."""

    name: ClassVar[str] = "hasty"

    def release(self, traffic: Traffic) -> Outcome:
        import numpy as np

        while (seen := traffic.serve(0.05, 0.05)) is not None:
            if not seen.canary.any() or seen.canary.all():
                continue
            rises = {
                one.metric: one.read(traffic.plan.metric(one.metric)).op == "<=" for one in traffic.plan.guardrails
            }
            zs = [_z(seen.values[name], seen.canary) * (1 if worse else -1) for name, worse in rises.items()]
            return "roll back" if np.max(zs) > 1.645 else "ship"
        return "hold"


def _z(values: NDArray[np.float64], canary: NDArray[np.bool_]) -> float:
    """z of the canary's mean above the baseline's."""
    mine, theirs = values[canary], values[~canary]
    error = (mine.var() / mine.size + theirs.var() / theirs.size) ** 0.5
    return float((mine.mean() - theirs.mean()) / error) if error > 0 else 0.0


class Forgetful(Release):
    """The canary, whose log loses one record in a hundred at random."""

    name: ClassVar[str] = "forgetful"

    seed: int = Field(0, ge=0, description="of the losses")

    def release(self, traffic: Traffic) -> Outcome:
        import numpy as np

        rng = np.random.default_rng([self.seed, traffic.seed])

        def keep(seen: Seen) -> Seen:
            return seen.only(rng.random(seen.canary.size) > 0.01)

        return judged(traffic, traffic.plan, keep)

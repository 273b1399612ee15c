"""Progress of a run on standard error: blocks, options that are left, what was dropped and why, time left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from weigh import show
from weigh.flow import Event

if TYPE_CHECKING:
    from rich.progress import TaskID

    from weigh.decision import Lock
    from weigh.scale.halving import Contest

_SILENCE = 30.0
"""Seconds after which a run that has no bar says where it is."""


class Watch:
    """Shows events as they happen: live on a terminal, a line for each drop elsewhere, nothing when quiet.

    Attributes:
        locked: whether a race was begun; False after a run that found its decision in the ledger.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.locked = False
        self._quiet = quiet
        self._console = show.console(error=True)
        self._live = self._console.is_terminal and not quiet
        self._begun, self._done, self._told = 0.0, 0, 0.0
        self._ended = self._again = False
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[left]}"),
        )
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._live)
        self._task: TaskID = self._bar.add_task("opening the task", total=None, left="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if event.kind == "locked":
            self._start(event)
        elif event.kind == "block":
            self._block(event)
        elif event.kind == "dropped":
            self._dropped(event)
        elif event.kind == "back":
            self._say(f"{event.option} is back after {show.count(event.block + 1, 'block')}")
        elif event.kind == "fresh":
            self._fresh(event)

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._bar.console.print(text, soft_wrap=not self._live)

    def _start(self, event: Event) -> None:
        self.locked = True
        self._begun = self._told = time.monotonic()
        again = "going on where an earlier run stopped: " if event.resumed else ""
        budget = f", budget {event.lock.budget}" if str(event.lock.budget) else ""
        self._say(f"{again}racing {len(event.race.runners)} options on at most {_most(event):,} blocks{budget}")
        self._bar.update(self._task, description="racing", total=_most(event), completed=0)

    def _block(self, event: Event) -> None:
        self._done += 1
        live, all_options = event.race.live(), len(event.race.runners)
        left = f"block {event.block + 1:,}/{_most(event):,}  {len(live)} of {all_options} left{self._eta(event)}"
        self._bar.update(self._task, description="racing", completed=event.block + 1, left=left)
        self._now_and_then(left)

    def _dropped(self, event: Event) -> None:
        why = dropped(event.lock, event.race, event.option)
        failed = event.race.runners[event.option].state == "failed"
        when = f"in block {event.block + 1:,}" if failed else f"after {show.count(event.block + 1, 'block')}"
        ended = "the race ended: " if event.race.settled() and not failed and not self._ended else ""
        self._ended = self._ended or bool(ended)
        behind = event.race.objective.serial and not failed
        what = f"{event.option} is behind" if behind else f"dropped {event.option}"
        self._say(f"{ended}{what} {when}: {why}")

    def _fresh(self, event: Event) -> None:
        count = event.lock.blocks.fresh
        text = f"block {event.block - event.lock.blocks.race + 1:,} of {count:,} that the race did not use"
        if not self._again and not self._live:
            self._say(f"measuring the winner again on {show.count(count, 'block')} that the race did not use")
        self._again = True
        self._bar.update(self._task, description="measuring the winner again", total=None, left=text)
        self._now_and_then(text)

    def _now_and_then(self, text: str) -> None:
        """A line for those who see no bar."""
        if not self._live and time.monotonic() - self._told > _SILENCE:
            self._told = time.monotonic()
            self._say(text)

    def _eta(self, event: Event) -> str:
        """At most so long, since a race ends as soon as it is settled."""
        pace = (time.monotonic() - self._begun) / self._done
        left = pace * (_most(event) - event.block - 1)
        if event.lock.budget.seconds:
            left = min(left, max(0.0, event.lock.budget.seconds - (time.monotonic() - self._begun)))
        return f"  at most {show.seconds(left)}"


def _most(event: Event) -> int:
    blocks = event.lock.blocks.race
    return min(blocks, event.lock.budget.blocks or blocks)


def dropped(lock: Lock, race: Contest, name: str) -> str:
    """Why an option left the race, in a few words."""
    runner = race.runners[name]
    if runner.state == "failed" or not (runner.by or runner.limit):
        return runner.reason
    if runner.state == "violates" and runner.limit is not None:
        now = race.limit_interval(name, runner.limit)
        bound = next(constraint for constraint in lock.constraints if constraint.limit() == runner.limit)
        what = {"": "it", "difference": "the difference", "ratio": "the ratio"}[bound.relative]
        return f"breaks '{show.bounded(lock, str(bound))}': {what} is {show.ends(now.estimate, now.low, now.high)}"
    return f"{runner.by} is better in {race.objective.name} {runner.reason}".strip()

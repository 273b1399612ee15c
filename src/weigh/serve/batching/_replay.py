"""Requests that come when they come, whatever became of those before: an open loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from weigh.serve.batching import Batcher, Batching, Full, LanguageModel, Late, Limits, RowsModel, Sampling
from weigh.serve.batching._requests import Request

PATIENCE = 10
"""Nobody waits longer than so many times the SLO; who was refused counts as having waited so long."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request; times in seconds, counted from when it was to come.

    Counting from when it was really sent would hide the time in which a stalled server holds up whoever sends.
    """

    arrival: float
    latency: float
    first: float
    size: int
    answered: bool


async def replayed(
    option: Batching, model: RowsModel | LanguageModel, limits: Limits, requests: Sequence[Request], slo: float
) -> list[Outcome]:
    """Start the option, send each request at its time, and close when all are answered or given up."""
    batcher = option.start(model, limits)
    try:
        start = time.monotonic()
        return await asyncio.gather(*[_sent(batcher, request, start, slo) for request in requests])
    finally:
        await batcher.close()


async def _sent(batcher: Batcher, request: Request, start: float, slo: float) -> Outcome:
    due = start + request.arrival
    await asyncio.sleep(due - time.monotonic())
    deadline = due + PATIENCE * slo
    try:
        first = await _answered(batcher, request, deadline) - due
        return Outcome(request.arrival, time.monotonic() - due, first, request.size, True)
    except (Full, Late):
        return Outcome(request.arrival, PATIENCE * slo, PATIENCE * slo, request.size, False)


async def _answered(batcher: Batcher, request: Request, deadline: float) -> float:
    """Wait for the whole answer; when its first part came."""
    if request.feed is not None:
        await batcher.answer(request.feed, deadline)
        return time.monotonic()
    first = 0.0
    async for _ in batcher.write(request.prompt, Sampling(request.size), deadline):
        first = first or time.monotonic()
    return first

"""Rows that share a run: the same answers as alone, bounded queues, deadlines, and nobody pays for another's fault."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
import pytest

from weigh.choice import Unfit
from weigh.serve.batching import Batcher, Batching, Closed, Full, Late, Limits
from weigh.serve.batching.continuous import Continuous
from weigh.serve.batching.single import Single
from weigh.serve.batching.window import Window

OPTIONS = [Single(), Window(), Window(delay_ms=0.0), Window(most=4, delay_ms=5.0)]
SPECS = [option.spec for option in OPTIONS]


class Net:
    """A net of one layer that keeps the sizes of its runs; a row with NaN breaks it; it can be held up."""

    def __init__(self, quick: bool = False) -> None:
        self.quick, self.sizes, self.go = quick, [], threading.Event()
        self.go.set()
        self.weights = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)

    def run(self, feed: Mapping[str, Any]) -> dict[str, Any]:
        assert self.go.wait(10)
        rows = feed["X"]
        self.sizes.append(len(rows))
        if np.isnan(rows).any():
            raise ValueError("a row is no number")
        return {"scores": np.tanh(rows.reshape(len(rows), -1)[:, :5] @ self.weights), "first": rows[:, 0]}


def rows(count: int, seed: int = 0, width: int = 5) -> dict[str, Any]:
    return {"X": np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)}


def served(option: Batching, net: Net, use: Callable[[Batcher], Awaitable[Any]], limits: Limits | None = None) -> Any:
    async def whole() -> Any:
        batcher = option.start(net, limits or Limits())
        try:
            return await asyncio.wait_for(use(batcher), 30)
        finally:
            net.go.set()
            await batcher.close()

    return asyncio.run(whole())


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("option", OPTIONS, ids=SPECS)
def test_answers_are_those_that_each_request_gets_alone(option: Batching, quick: bool):
    feeds = [rows(1 + place % 3, place, 5 + (place % 7 == 0)) for place in range(30)]
    net = Net(quick)

    async def all_at_once(batcher: Batcher) -> list[Any]:
        return list(await asyncio.gather(*[batcher.answer(feed) for feed in feeds]))

    found = served(option, net, all_at_once)
    for feed, answer in zip(feeds, found, strict=True):
        alone = Net().run(feed)
        assert answer.keys() == alone.keys()
        for name, values in alone.items():
            np.testing.assert_allclose(answer[name], values, rtol=1e-6, atol=1e-6)
    assert max(net.sizes) == 3 if option == Single() else max(net.sizes) > 3


@pytest.mark.parametrize("quick", [False, True])
def test_joining_fills_a_run_and_does_not_exceed_it(quick: bool):
    net = Net(quick)
    served(
        Window(most=6, delay_ms=50.0),
        net,
        lambda batcher: asyncio.gather(
            *[batcher.answer(rows(2, place)) for place in range(9)], batcher.answer(rows(9))
        ),
    )
    assert sorted(net.sizes) == [6, 6, 6, 9], "a request that is larger than a run goes alone"


def test_a_window_bounds_how_long_a_lonely_request_waits():
    def took(delay_ms: float) -> float:
        async def one(batcher: Batcher) -> float:
            await batcher.answer(rows(1))
            start = time.perf_counter()
            await batcher.answer(rows(1))
            return time.perf_counter() - start

        return float(served(Window(delay_ms=delay_ms), Net(quick=True), one))

    assert took(0.0) < 0.1 <= took(100.0)


def test_a_broken_request_spoils_nobody_elses_answer():
    bad = {"X": np.full((1, 5), np.nan, np.float32)}

    async def mixed(batcher: Batcher) -> list[Any]:
        feeds = [rows(1, 1), bad, rows(1, 2)]
        return list(await asyncio.gather(*[batcher.answer(feed) for feed in feeds], return_exceptions=True))

    first, broken, last = served(Window(), Net(), mixed)
    assert isinstance(broken, ValueError) and "no number" in str(broken)
    np.testing.assert_allclose(first["scores"], Net().run(rows(1, 1))["scores"], rtol=1e-6)
    np.testing.assert_allclose(last["scores"], Net().run(rows(1, 2))["scores"], rtol=1e-6)


@pytest.mark.parametrize("option", [Single(), Window()], ids=["single", "window"])
def test_who_comes_when_all_places_are_taken_is_refused_and_told_when_to_come_again(option: Batching):
    net = Net()

    async def crowd(batcher: Batcher) -> list[Any]:
        net.go.clear()
        first = asyncio.ensure_future(batcher.answer(rows(1)))
        while batcher.load().running == 0:
            await asyncio.sleep(0.001)
        others = [asyncio.ensure_future(batcher.answer(rows(1))) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert batcher.load() == (3, 1)
        others[0].cancel()
        await asyncio.sleep(0)
        late = asyncio.ensure_future(batcher.answer(rows(1)))  # takes the place of the one that was given up
        await asyncio.sleep(0.01)
        net.go.set()
        return list(await asyncio.gather(first, *others, late, return_exceptions=True))

    found = served(option, net, crowd, Limits(waiting=3))
    kinds = [type(one).__name__ for one in found]
    assert kinds == ["dict", "CancelledError", "dict", "dict", "Full", "Full", "dict"]
    assert all(one.retry_after > 0 for one in found if isinstance(one, Full))
    assert sum(net.sizes) == 4, "what was given up was not computed"


def test_a_request_whose_deadline_passed_is_not_computed():
    net = Net()

    async def slow(batcher: Batcher) -> list[Any]:
        net.go.clear()
        first = asyncio.ensure_future(batcher.answer(rows(1)))
        late = asyncio.ensure_future(batcher.answer(rows(7), time.monotonic() + 0.02))
        await asyncio.sleep(0.05)
        net.go.set()
        return list(await asyncio.gather(first, late, return_exceptions=True))

    first, late = served(Single(), net, slow)
    assert "scores" in first and isinstance(late, Late) and net.sizes == [1]


def test_closing_answers_what_waits_and_then_refuses():
    async def whole() -> None:
        net = Net()
        batcher = Window().start(net, Limits())
        waits = [asyncio.ensure_future(batcher.answer(rows(1, place))) for place in range(40)]
        await asyncio.sleep(0)
        await batcher.close(drain=10)
        assert all("scores" in answer for answer in await asyncio.gather(*waits))
        with pytest.raises(Closed):
            await batcher.answer(rows(1))

        net.go.clear()
        other = Single().start(net, Limits())
        stuck = [asyncio.ensure_future(other.answer(rows(1))) for _ in range(3)]
        await asyncio.sleep(0.01)
        closing = asyncio.ensure_future(other.close(drain=0.01))
        await asyncio.sleep(0.05)
        net.go.set()
        await closing
        found = await asyncio.gather(*stuck, return_exceptions=True)
        assert [isinstance(one, Closed) for one in found] == [False, True, True], "what runs is answered"

    asyncio.run(whole())


def test_what_fits_no_run_is_refused_in_words():
    uneven = {"X": np.zeros((2, 5), np.float32), "Z": np.zeros((3, 5), np.float32)}
    for feed in (uneven, {"X": np.zeros((0, 5), np.float32)}):
        with pytest.raises(ValueError, match="one row or more"):
            served(Window(), Net(), lambda batcher, feed=feed: batcher.answer(feed))
    with pytest.raises(TypeError, match="model of rows"):
        served(Window(), Net(), lambda batcher: batcher.write([1], None))  # type: ignore[arg-type]
    with pytest.raises(Unfit, match="type window"):
        served(Continuous(), Net(), lambda batcher: batcher.answer(rows(1)))


def test_outputs_that_are_no_answers_of_rows_are_refused_when_they_are_joined():
    class Sum(Net):
        def run(self, feed: Mapping[str, Any]) -> dict[str, Any]:
            return {"sum": feed["X"].sum(0)[:2]} if len(feed["X"]) != 2 else {"sum": np.zeros(3)}

    async def two(batcher: Batcher) -> list[Any]:
        return list(await asyncio.gather(batcher.answer(rows(1)), batcher.answer(rows(1)), return_exceptions=True))

    first, _ = served(Window(), Sum(), two)
    assert first["sum"].shape == (2,), "each was tried alone, where the output is whatever the model says"

"""Replays: latency counts from when a request was to come, rows and texts are raced, and what cannot be is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weigh import catalog
from weigh.choice import Block, Unfit, UsageError
from weigh.serve.batching import BatchingTask, Limits
from weigh.serve.batching._bench import BatchingBench
from weigh.serve.batching._replay import replayed
from weigh.serve.batching._requests import Request
from weigh.serve.batching.continuous import Continuous
from weigh.serve.batching.single import Single
from weigh.serve.batching.window import Window


class Slow:
    """Ten milliseconds a run, however many rows."""

    quick = False

    def run(self, feed: Mapping[str, Any]) -> dict[str, Any]:
        time.sleep(0.01)
        return {"answer": feed["X"]}


def requests(count: int, every: float) -> list[Request]:
    return [Request(place * every, 1, feed={"X": np.ones((1, 2), np.float32)}) for place in range(count)]


def test_an_open_loop_meets_its_queue():
    """Twice as many come as one at a time can be answered: the last waits for half of all; joined, nobody waits."""
    queued = asyncio.run(replayed(Single(), Slow(), Limits(), requests(40, 0.005), 1.0))
    joined = asyncio.run(replayed(Window(delay_ms=0.0), Slow(), Limits(), requests(40, 0.005), 1.0))
    assert all(one.answered for one in (*queued, *joined))
    assert queued[-1].latency > 0.15 > np.median([one.latency for one in joined])
    assert [one.arrival for one in queued] == [one.arrival for one in joined]


def test_who_is_refused_or_waits_too_long_is_not_answered():
    refused = asyncio.run(replayed(Single(), Slow(), Limits(waiting=2), requests(20, 0.0), 1.0))
    assert 2 <= sum(one.answered for one in refused) <= 4
    assert {one.latency for one in refused if not one.answered} == {10.0}
    tired = asyncio.run(replayed(Single(), Slow(), Limits(), requests(40, 0.0), 0.01))
    assert 5 <= sum(one.answered for one in tired) < 20, "nobody waits longer than ten times the SLO"


@pytest.fixture
def net(tmp_path: Path) -> BatchingTask:
    """A linear net in ONNX, and rows."""
    from onnx import TensorProto, helper, save

    dice = np.random.default_rng(0)
    weights = helper.make_tensor("w", TensorProto.FLOAT, (6, 3), dice.normal(size=18).astype(np.float32))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "w"], ["scores"])], "net",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, (None, 6))],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, (None, 3))], [weights],
    )  # fmt: skip
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "net.onnx")
    np.savez(tmp_path / "rows.npz", X=dice.normal(size=(50, 6)).astype(np.float32))
    return BatchingTask(
        model=tmp_path / "net.onnx", data=tmp_path / "rows.npz", rate=2000, slo_ms=500, rows=3, requests=20, rounds=4
    )  # fmt: skip


def test_rows_are_raced_on_the_same_arrivals(net: BatchingTask):
    made = catalog.choice("serve/batching")
    names = [measure.name for measure in made.suiting(net)]
    assert names == ["goodput", "p99", "throughput", "memory"]
    bench = BatchingBench(net, 0)
    for option in (Single(), Window()):
        subject = bench.prepare(option)
        values = bench.trial(subject, Block(index=0, seed=9))
        assert list(values) == ["goodput", "p99", "throughput", "memory"]
        assert values["goodput"] == [2000.0] and len(subject.outcomes) == 20
        assert values["memory"] == option.at_once() * (6 + 3) * 4 / 1e6
    with pytest.raises(Unfit, match="type window"):
        bench.prepare(Continuous())
    assert [exhibit.title for exhibit in bench.exhibits({"window": subject})][1] == "Goodput by rate"


def test_arrivals_are_poisson_and_of_the_task_alone(net: BatchingTask):
    drawn = BatchingBench(net, 0).requests.drawn(5, 100.0, 4000)
    times = np.diff([one.arrival for one in drawn])
    assert abs(times.mean() - 0.01) < 0.001 and abs(times.std() - 0.01) < 0.001, "exponential: deviation as the mean"
    again = BatchingBench(net, 1).requests.drawn(5, 100.0, 4000)
    assert [one.arrival for one in again] == [one.arrival for one in drawn]
    assert {one.size for one in drawn} == {1, 2, 3}


def test_a_net_whose_rows_depend_on_their_company_is_served_alone(net: BatchingTask):
    bench = BatchingBench(net, 0)
    kept = bench._rows().run
    bench.model.run = lambda feed: {"answer": kept(feed)["answer"] + len(feed["X"])}  # type: ignore[union-attr]
    with pytest.raises(Unfit, match="in company"):
        bench.prepare(Window())
    bench.prepare(Single())


def test_what_cannot_be_replayed_is_told(net: BatchingTask, tmp_path: Path):
    from weigh.model.toy import random_llama, save_llama

    np.savez(tmp_path / "wide.npz", X=np.ones((9, 7), np.float32))
    with pytest.raises(UsageError, match="7"):
        BatchingBench(net.model_copy(update={"data": tmp_path / "wide.npz"}), 0)
    folder = save_llama(random_llama(0, 1), tmp_path / "llama")
    lines = tmp_path / "prompts.jsonl"
    texts = net.model_copy(update={"model": folder, "data": lines, "prompt_tokens": 4, "new_tokens": 8})
    for wrong, words in (('{"text": "w5"}', "not a line of the form"), ('{"prompt": ""}', "is empty")):
        lines.write_text(wrong + "\n")
        with pytest.raises(UsageError, match=words):
            BatchingBench(texts, 0)
    lines.write_text("\n".join(json.dumps({"prompt": "w5 w6 w7 w8 w9 w10"[: 6 + place]}) for place in range(9)))
    bench = BatchingBench(texts, 0)
    assert {len(prompt) for prompt in bench.requests.prompts} <= {2, 3, 4}
    drawn = bench.requests.drawn(0, 1.0, 300)
    assert {one.size for one in drawn} == set(range(2, 9)), "a quarter of an answer's tokens to all of them"

"""Copies of requests: whatever is gathered arrives, each with what it was asked and answered."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from weigh.server.agree import agree_each, agrees
from weigh.server.copies import MOST, Copies, apart
from weigh.server.log import PredictionLog
from weigh.server.model import Model
from weigh.server.worker import SHADOWS, QuickWorker

RANDOM = np.random.default_rng(0)


def _feed(rows: int, text: bool = False) -> dict[str, Any]:
    if text:
        return {"word": np.array([f"é{k}" for k in range(rows)], dtype=object)}
    return {"x": RANDOM.normal(size=(rows, 3)).astype("f4"), "n": np.arange(rows)}


def _sent(some: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]) -> list[tuple[dict[str, Any], bytes]]:
    messages: list[tuple[dict[str, Any], bytes]] = []

    async def play() -> None:
        copies = Copies(lambda head, body: messages.append((orjson.loads(orjson.dumps(head)), body)))
        for one in some:
            copies.add(*one)
        assert not messages
        await asyncio.sleep(0.1)
        assert copies.size == 0

    asyncio.run(play())
    return messages


def test_what_is_gathered_arrives_whole_and_in_order_of_its_shape():
    some = []
    for k in range(60):
        rows, text = (1, 2, 1, 1)[k % 4], k % 4 == 2
        some.append(({"id": str(k)}, _feed(rows, text), {"p": np.float32(k).reshape(()), "q": np.full((rows, 0), 1.0)}))
    messages, found = _sent(some), {}
    assert len(messages) == 3
    for head, body in messages:
        for entry, pair in zip(head["copies"], apart(head, body), strict=True):
            found[entry["id"]] = pair
    assert len(found) == len(some)
    for entry, feed, answers in some:
        for sent, came in zip((feed, answers), found[entry["id"]], strict=True):
            assert sent.keys() == came.keys()
            for name, values in sent.items():
                assert came[name].shape == values.shape and (came[name] == values).all()


def test_much_leaves_at_once():
    async def play() -> None:
        messages: list[Any] = []
        copies = Copies(lambda *message: messages.append(message))
        large = {"x": np.zeros(MOST // 4 + 1, "f4")}
        copies.add({"id": "a"}, large, {"p": np.zeros(1)})
        assert len(messages) == 1
        copies.add({"id": "b"}, {"x": np.zeros(1)}, {"p": np.zeros(1)})
        assert len(messages) == 1 and copies.size == 16

    asyncio.run(play())


class Moody(Model):
    """Answers x + 1; wrong where x is 7, not at all where it is 13."""

    version, platform, inputs, outputs = "1", "test", (), ()

    def run(self, feed: Any) -> dict[str, Any]:
        x = feed["x"]
        if x[0, 0] == 13:
            raise ValueError("unlucky")
        return {"p": np.where(x == 7, 99, x + 1)}


def _worked(message: tuple[dict[str, Any], bytes], folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    said: list[dict[str, Any]] = []

    async def play() -> None:
        worker = QuickWorker(Moody(), PredictionLog(folder, "shadow"))
        worker.wire.send = lambda head, body=b"": said.append(dict(head))  # type: ignore[method-assign]
        worker.hear(*message)
        while worker._copies:
            await asyncio.sleep(0)

    asyncio.run(play())
    return [orjson.loads(line) for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines()], said


def _rows(count: int) -> tuple[dict[str, Any], bytes]:
    rows = [np.array([[float(k)]]) for k in range(count)]
    (message,) = _sent([({"id": str(k)}, {"x": x}, {"p": x + 1}) for k, x in enumerate(rows)])
    return message


def test_each_copy_is_judged_by_itself(tmp_path: Path):
    logged, said = _worked(_rows(20), tmp_path)
    assert not said and {one["id"] for one in logged} == {str(k) for k in range(20)}
    assert [one["id"] for one in logged if one["error"]] == ["13"]
    assert [one["id"] for one in logged if one.get("disagreement")] == ["7"]
    assert all(one["ms"] >= 0 and one["m"] > 0 for one in logged)


def test_more_than_there_is_room_for_is_counted(tmp_path: Path):
    logged, said = _worked(_rows(SHADOWS + 5), tmp_path)
    assert len(logged) == SHADOWS and said == [{"skipped": 5}]


def test_what_is_too_old_is_left_out(tmp_path: Path):
    head, body = _rows(3)
    logged, said = _worked(({**head, "until": 1}, body), tmp_path)
    assert not logged and said == [{"skipped": 1}] * 3


def _pairs() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    one = np.array([[0.2, 0.8]])
    found = [
        (one, one), (one, one[:, ::-1]), (one, np.array([[np.nan, 0.8]])), (np.array([1.0]), np.array([1.005])),
        (np.array([1.0]), np.array([1.2])), (np.array(3), np.array(3)), (np.array(3), np.array(4)),
        (one, np.vstack([one, one])), (np.array(["a"], dtype=object), np.array(["b"], dtype=object)),
        (np.zeros((0, 2)), np.zeros((0, 2))), (np.array([np.inf]), np.array([np.inf])),
    ]  # fmt: skip
    return [({"p": first}, {"p": second}) for first, second in found] + [({"p": one}, {"q": one})]


EXPECTED = [True, False, False, True, False, True, False, False, False, True, False, False]


@pytest.mark.parametrize("times", [1, 3])
def test_pairs_are_compared_together_as_one_by_one(times: int):
    pairs = _pairs() * times
    assert agree_each(*zip(*pairs)) == EXPECTED * times == [agrees(*pair) for pair in pairs]

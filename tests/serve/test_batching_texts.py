"""Texts that are written together: token by token what each gets alone, whoever joins, leaves, or goes away."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch

from weigh.choice import Unfit
from weigh.model.imports import transformers
from weigh.model.toy import random_llama
from weigh.serve.batching import Batcher, Batching, Closed, Full, LanguageModel, Late, Limits, Sampling, Token
from weigh.serve.batching._kept import Kept
from weigh.serve.batching._sampling import Chooser
from weigh.serve.batching._slots import Rows
from weigh.serve.batching.continuous import Continuous
from weigh.serve.batching.single import Single
from weigh.serve.batching.window import Window

OPTIONS = [Single(), Window(most=3, delay_ms=1.0), Continuous(slots=4, chunk=3), Continuous()]
SPECS = [option.spec for option in OPTIONS]
ENDS = frozenset({7, 77, 177})


@cache
def net() -> Any:
    torch.set_num_threads(1)
    return random_llama(3, 2)


def model(ends: frozenset[int] = frozenset()) -> LanguageModel:
    return LanguageModel(net(), ends, 256)


def prompt(seed: int, length: int) -> list[int]:
    return torch.randint(3, 256, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def alone(ids: Sequence[int], count: int, ends: frozenset[int] = frozenset()) -> list[int]:
    """Plain greedy writing without any cache: the truth."""
    text = list(ids)
    with torch.inference_mode():
        while len(text) < len(ids) + count:
            text.append(int(net()(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1].argmax()))
            if text[-1] in ends:
                break
    return text[len(ids) :]


async def written(
    batcher: Batcher, ids: Sequence[int], sampling: Sampling, deadline: float | None = None
) -> list[Token]:
    return [token async for token in batcher.write(ids, sampling, deadline)]


def served(
    option: Batching, use: Callable[[Batcher], Awaitable[Any]], limits: Limits | None = None, **changed: Any
) -> Any:
    async def whole() -> Any:
        batcher = option.start(model(**changed), limits or Limits())
        try:
            return await asyncio.wait_for(use(batcher), 60)
        finally:
            await batcher.close()

    return asyncio.run(whole())


@pytest.mark.parametrize("option", OPTIONS, ids=SPECS)
def test_greedy_tokens_are_those_that_each_text_gets_alone(option: Batching):
    asked = [(prompt(place, 1 + 5 * place % 23), 1 + 7 * place % 19) for place in range(12)]

    async def in_turn(batcher: Batcher) -> list[list[Token]]:
        tasks = []
        for ids, count in asked:
            tasks.append(asyncio.ensure_future(written(batcher, ids, Sampling(count))))
            await asyncio.sleep(0.002)
        return list(await asyncio.gather(*tasks))

    found = served(option, in_turn, ends=ENDS)
    ended = set()
    for (ids, count), tokens in zip(asked, found, strict=True):
        assert [token.id for token in tokens] == alone(ids, count, ENDS)
        assert [token.end for token in tokens[:-1]] == [""] * (len(tokens) - 1)
        assert tokens[-1].end == ("stop" if tokens[-1].id in ENDS else "length")
        ended.add(tokens[-1].end)
    assert "length" in ended


@pytest.mark.parametrize("option", OPTIONS[1:], ids=SPECS[1:])
def test_draws_depend_on_the_seed_and_not_on_the_company(option: Batching):
    ids, hot = prompt(1, 6), Sampling(12, temperature=1.0, top_p=0.9, seed=5, logprobs=2)
    only = served(Single(), lambda batcher: written(batcher, ids, hot))

    async def crowd(batcher: Batcher) -> Any:
        others = [written(batcher, prompt(place, 9), Sampling(9, 1.3, seed=place)) for place in range(5)]
        return await asyncio.gather(written(batcher, ids, hot), *others)

    among = served(option, crowd)[0]
    assert [token.id for token in among] == [token.id for token in only]
    other = served(Single(), lambda batcher: written(batcher, ids, Sampling(12, 1.0, 0.9, seed=6)))
    assert [token.id for token in other] != [token.id for token in only]
    for token in among:
        assert token.logprob is not None and len(token.top) == 2 and token.top[0][1] >= token.logprob - 1e-5


def test_top_p_draws_each_token_of_the_nucleus_as_often_as_its_chance():
    chances = torch.tensor([0.05, 0.5, 0.25, 0.15, 0.05])
    chooser = Chooser(Sampling(1, temperature=1.0, top_p=0.8, seed=0))
    drawn = torch.tensor([chooser.draw(chances.log()) for _ in range(3000)]).bincount(minlength=5) / 3000
    expected = torch.tensor([0.0, 0.5, 0.25, 0.15, 0.0]) / 0.9
    assert (drawn - expected).abs().max() < 0.03 and drawn[0] == drawn[4] == 0


def test_a_short_text_leaves_before_a_long_one_and_a_late_one_joins_it():
    async def three(batcher: Batcher) -> list[str]:
        order: list[str] = []

        async def one(name: str, count: int) -> None:
            await written(batcher, prompt(0, 4), Sampling(count))
            order.append(name)

        long = asyncio.ensure_future(one("long", 120))
        await one("short", 2)
        await one("late", 2)
        await long
        return order

    assert served(Continuous(slots=2), three) == ["short", "late", "long"]
    assert served(Window(most=2, delay_ms=200.0), three) == ["short", "long", "late"], (
        "a static batch lets nobody in until it has ended"
    )


def test_a_long_prompt_does_not_hold_up_the_others():
    long, short = prompt(1, 200), prompt(2, 3)

    async def both(batcher: Batcher) -> tuple[int, int]:
        before: list[int] = []
        reader = batcher.write(short, Sampling(60))
        await anext(reader)
        other = batcher.write(long, Sampling(2))
        first = asyncio.ensure_future(anext(other))
        async for token in reader:
            if not first.done():
                before.append(token.id)
        await first
        return len(before), first.result().id

    between, token = served(Continuous(chunk=10), both)
    assert between >= 10, "200 tokens in parts of 10 let 20 tokens of the other text through"
    assert token == alone(long, 1)[0]


@pytest.mark.parametrize("how", ["closed", "cancelled", "forgotten"])
@pytest.mark.parametrize(
    "option", [Single(), Window(most=1, delay_ms=0.0), Continuous(slots=1)], ids=lambda one: one.name
)
def test_who_goes_away_frees_the_slot(option: Batching, how: str):
    async def leave(batcher: Batcher) -> float:
        stream = batcher.write(prompt(0, 4), Sampling(250))
        await anext(stream)
        next_one = asyncio.ensure_future(written(batcher, prompt(1, 4), Sampling(2)))
        if how == "closed":
            await stream.aclose()
        elif how == "cancelled":
            reader = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            while not reader.done():
                reader.cancel()
                await asyncio.sleep(0)
                if reader.done() and not reader.cancelled():
                    reader = asyncio.ensure_future(anext(stream))
                    await asyncio.sleep(0)
        del stream
        assert [token.id for token in await next_one] == alone(prompt(1, 4), 2)
        while batcher.load().running:
            await asyncio.sleep(0.001)
        return 0.0

    served(option, leave)


@pytest.mark.parametrize(
    "option",
    [Continuous(slots=5, chunk=7), Continuous(slots=6), Window(most=5, delay_ms=1.0)],
    ids=lambda one: one.spec,
)
def test_who_joins_and_leaves_at_random_changes_nobody_elses_text(option: Batching):
    dice = random.Random(0)
    asked = [(prompt(place, dice.choice([1, 2, 9, 30])), dice.randint(1, 20)) for place in range(40)]
    leaves = [dice.choice([None, None, 0, 1, 4]) for _ in asked]

    async def one(batcher: Batcher, place: int) -> list[int]:
        ids, count = asked[place]
        await asyncio.sleep(0.002 * place)
        stream, made = batcher.write(ids, Sampling(count)), []
        while len(made) != leaves[place]:
            token = await anext(stream, None)
            if token is None:
                break
            made.append(token.id)
        if leaves[place] == 0:
            await asyncio.sleep(dice.random() * 0.01)
        await stream.aclose()
        return made

    found = served(option, lambda batcher: asyncio.gather(*[one(batcher, place) for place in range(40)]))
    for (ids, count), left, made in zip(asked, leaves, found, strict=True):
        whole = alone(ids, count)
        assert made == (whole if left is None else whole[: min(left, count)])


def test_the_queue_is_bounded_and_deadlines_are_kept():
    async def crowd(batcher: Batcher) -> None:
        first = batcher.write(prompt(0, 4), Sampling(250))
        await anext(first)
        waits = [batcher.write(prompt(1, 4), Sampling(2)) for _ in range(2)]
        with pytest.raises(Full) as full:
            batcher.write(prompt(1, 4), Sampling(2))
        assert full.value.retry_after > 0
        await waits[0].aclose()
        late = batcher.write(prompt(1, 4), Sampling(2), time.monotonic())  # in the place of the one that left
        await first.aclose()
        assert len([token async for token in waits[1]]) == 2
        with pytest.raises(Late, match="waited"):
            await anext(late)
        slow = batcher.write(prompt(0, 4), Sampling(250), time.monotonic() + 0.05)
        with pytest.raises(Late, match="was written"):
            async for _ in slow:
                pass

    served(Single(), crowd, Limits(waiting=2))


def test_keys_and_values_stay_within_their_limit():
    async def crowd(batcher: Batcher) -> int:
        most = 0
        tasks = [asyncio.ensure_future(written(batcher, prompt(place, 10), Sampling(20))) for place in range(8)]
        while not all(task.done() for task in tasks):
            most = max(most, batcher.load().running)
            await asyncio.sleep(0)
        for place, task in enumerate(tasks):
            assert [token.id for token in task.result()] == alone(prompt(place, 10), 20)
        return most

    assert served(Continuous(), crowd, Limits(tokens=70)) == 2, "30 tokens each: two have room, three have not"


def test_closing_lets_texts_end_and_then_refuses():
    async def whole() -> None:
        batcher = Continuous().start(model(), Limits())
        tasks = [asyncio.ensure_future(written(batcher, prompt(place, 4), Sampling(9))) for place in range(3)]
        await asyncio.sleep(0)
        await batcher.close(drain=30)
        assert [len(task.result()) for task in tasks] == [9] * 3
        with pytest.raises(Closed):
            batcher.write([5], Sampling(1))
        other = Continuous().start(model(), Limits())
        cut = other.write(prompt(0, 4), Sampling(250))
        await anext(cut)
        await other.close()
        with pytest.raises(Closed):
            async for _ in cut:
                pass

    asyncio.run(whole())


def test_a_model_that_fails_ends_its_answers_and_serves_on(monkeypatch: pytest.MonkeyPatch):
    kept, left = Rows.write, [2]

    def failing(self: Rows, *given: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("out of memory")
        return kept(self, *given)

    async def twice(batcher: Batcher) -> None:
        monkeypatch.setattr(Rows, "write", failing)
        with pytest.raises(RuntimeError, match="out of memory"):
            await written(batcher, prompt(0, 4), Sampling(5))
        assert [token.id for token in await written(batcher, prompt(0, 4), Sampling(5))] == alone(prompt(0, 4), 5)

    served(Continuous(), twice)


def test_what_does_not_fit_the_context_is_refused():
    async def ask(batcher: Batcher) -> None:
        for ids, most in (([], 1), ([5], 0), ([5] * 200, 57)):
            with pytest.raises(ValueError, match="256 at most"):
                batcher.write(ids, Sampling(most))
        with pytest.raises(TypeError, match="language model"):
            await batcher.answer({})

    served(Single(), ask)


def start(module: Any, context: int) -> None:
    async def whole() -> None:
        batcher = Continuous().start(LanguageModel(module, frozenset(), context), Limits())
        await batcher.close()

    asyncio.run(whole())


def test_a_model_that_does_not_see_all_tokens_is_refused_in_words():
    config = transformers("MistralConfig")(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, sliding_window=32,
    )  # fmt: skip
    net = transformers("MistralForCausalLM")(config).eval()
    with pytest.raises(Unfit, match="look 32 tokens back, and the context served is 64"):
        start(net, 64)
    start(net, 32)


def test_a_model_that_keeps_something_else_is_found_out():
    config = transformers("MambaConfig")(vocab_size=64, hidden_size=32, num_hidden_layers=1)
    with pytest.raises(Unfit, match="MambaForCausalLM cannot write several texts at once"):
        start(transformers("MambaForCausalLM")(config).eval(), 64)
    lost = random_llama(5, 1)
    forward = lost.forward
    lost.forward = lambda *, position_ids=None, **given: forward(**given)
    with pytest.raises(Unfit, match="scores of a text differ by"):
        start(lost, 64)


def test_room_grows_and_rows_move_without_losing_anything():
    kept = Kept()
    kept.reserve(2, 3)
    one = torch.randn(1, 2, 3, 4)
    kept.aim(1, 1, 0, 3)
    kept.update(one, 2 * one, 0)
    kept.reserve(5, 300)
    kept.move(1, 0, 3)
    kept.aim(0, 1, torch.tensor([[3]]), 4)
    keys, values = kept.update(torch.ones(1, 2, 1, 4), torch.ones(1, 2, 1, 4), 0)
    assert torch.equal(keys[:, :, :3], one) and torch.equal(values[:, :, :3], 2 * one) and keys.shape[2] == 4
    assert (keys[:, :, 3] == 1).all() and kept.bytes() == 2 * 4 * 5 * 2 * 320 * 4

"""A GGUF behind the same engine: llama.cpp writes what the Hugging Face folder does, and lets go of who leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from weigh.choice import Unfit
from weigh.model.gguf_write import write_gguf
from weigh.model.source import open_source
from weigh.model.toy import random_llama, save_llama
from weigh.serve.batching import Batching, Closed, Full, GgufModel, Late, Limits, Sampling
from weigh.serve.batching._llama_cpp import LlamaWriter
from weigh.serve.batching.continuous import Continuous
from weigh.serve.batching.single import Single
from weigh.serve.batching.window import Window

ENDS = frozenset({7, 77, 177})


@pytest.fixture(scope="module")
def net() -> Any:
    return random_llama(3, 2)


@pytest.fixture(scope="module")
def file(net: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("gguf")
    return write_gguf(open_source(save_llama(net, home / "folder")), home / "net.gguf", "F32", ids_only=True)


def served(file: Path, option: Batching, use: Callable[[Any], Awaitable[Any]], limits: Limits | None = None) -> Any:
    async def whole() -> Any:
        batcher = option.start(GgufModel(file, frozenset({2}), 256), limits or Limits())
        assert isinstance(batcher, LlamaWriter)
        try:
            return await asyncio.wait_for(use(batcher), 60)
        finally:
            await batcher.close()

    return asyncio.run(whole())


async def written(batcher: Any, ids: list[int], sampling: Sampling) -> list[Any]:
    return [token async for token in batcher.write(ids, sampling)]


@pytest.mark.parametrize("option", [Single(), Continuous(slots=4)], ids=["single", "continuous"])
def test_llama_cpp_writes_the_same_tokens(net: Any, file: Path, option: Batching):
    import torch

    prompts = [[3 + (place * 31 + step * 17) % 250 for step in range(2 + place)] for place in range(7)]

    async def crowd(batcher: Any) -> list[Any]:
        asked = Sampling(9, logprobs=1)
        return list(await asyncio.gather(*[written(batcher, ids, asked) for ids in prompts]))

    for ids, tokens in zip(prompts, served(file, option, crowd), strict=True):
        text = list(ids)
        for token in tokens:
            with torch.inference_mode():
                scores = net(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1].log_softmax(-1)
            text.append(int(scores.argmax()))
            assert token.id == text[-1] and token.text in (f"w{token.id}", f"w{token.id} ", "")
            assert token.logprob == pytest.approx(float(scores.max()), abs=0.05) or token.end == "stop"
        assert tokens[-1].end == ("stop" if text[-1] == 2 else "length") and not any(one.end for one in tokens[:-1])


def test_who_leaves_frees_the_slot_and_the_queue_is_bounded(file: Path):
    async def leave(batcher: Any) -> None:
        first = batcher.write([5, 6], Sampling(250))
        await anext(first)
        waits = [batcher.write([5], Sampling(2)), batcher.write([5], Sampling(2), time.monotonic())]
        with pytest.raises(Full):
            batcher.write([5], Sampling(2))
        del first
        assert len([token async for token in waits[0]]) == 2
        with pytest.raises(Late):
            await anext(waits[1])
        await batcher.close()
        with pytest.raises(Closed):
            batcher.write([5], Sampling(2))

    served(file, Single(), leave, Limits(waiting=2))


def test_draws_repeat_with_the_seed(file: Path):
    async def thrice(batcher: Any) -> list[str]:
        made = [await written(batcher, [5, 6], Sampling(20, 1.0, 0.95, seed)) for seed in (1, 1, 2)]
        return ["".join(token.text or "" for token in one) for one in made]

    one, same, other = served(file, Continuous(), thrice)
    assert one == same != other


def test_what_llama_cpp_cannot_do_is_told(file: Path, tmp_path: Path):
    with pytest.raises(Unfit, match="batches continuously"):
        served(file, Window(), written)  # type: ignore[arg-type]
    (tmp_path / "no.gguf").write_bytes(b"GGUF")
    with pytest.raises(Unfit, match="cannot load"):
        served(tmp_path / "no.gguf", Single(), written)  # type: ignore[arg-type]

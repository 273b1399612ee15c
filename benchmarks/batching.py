"""Ways of sharing SmolLM2 among requests: weigh's own, transformers' continuous batching, and llama.cpp's server.

``make bench-batching [ARGS="--rounds 8 --threads 1"]``: in each round all answer the same requests, one way after the
other in an order that is drawn, in two forms. *Burst*: eight requests at once; figures are tokens a second, the median
of their ratios to `single` in the same round with the least and greatest of them, and processor seconds beside them.
*Open loop*: requests come at random at `--rate` a second, whatever became of those before; figures are goodput
(answered within `--slo` ms), and 99th percentiles of the whole answer and of the first token. Prompts are windows of
Python's manual of 64 tokens; answers have 8 to 32 tokens, drawn anew for each request and the same for all ways. All
compute in float32; llama.cpp reads the same weights in F32.

transformers' manager gets room for as many tokens as the others (by itself it takes most of the memory there is), and
hands tokens over as they are made. llama.cpp's server tells whole answers here, so it has no time to a first token.
Greedy tokens of weigh's ways and of transformers' must be those that each request gets alone (`identical`).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks._llama_server import gguf_of
from benchmarks._result import RESULTS, report, table
from weigh.serve._silent import silent
from weigh.serve.batching import Batcher, LanguageModel, Limits, Load, Sampling, Stream, Token
from weigh.serve.batching._replay import Outcome, replayed
from weigh.serve.batching._requests import Request
from weigh.serve.batching.continuous import Continuous
from weigh.serve.batching.single import Single
from weigh.serve.batching.window import Window

TOGETHER, PROMPT, LEAST, MOST = 8, 64, 8, 32
FOLDER = RESULTS / ".batching"


class Waiting(Stream):
    """Tokens that something puts into a queue on the loop."""

    def __init__(self, count: int) -> None:
        self.queue: asyncio.Queue[int] = asyncio.Queue()
        self.left = count

    async def __anext__(self) -> Token:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return Token(await self.queue.get())

    async def aclose(self) -> None:
        self.left = 0


class Peer(Batcher):
    """Another's server, started once."""

    spec: str

    def start(self, model: Any, limits: Limits) -> Batcher:
        return self

    def load(self) -> Load:
        return Load(0, 0)

    async def close(self, drain: float = 0.0) -> None:
        return


class Paged(Peer):
    """transformers' `ContinuousBatchingManager`, over a copy of the module."""

    spec = "transformers_continuous"

    def __init__(self, module: Any) -> None:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        asked = GenerationConfig(max_new_tokens=MOST, do_sample=False, eos_token_id=-1, pad_token_id=0)
        room = ContinuousBatchingConfig(
            page_size=32, num_blocks=TOGETHER * 8, max_batch_tokens=512, max_requests_per_batch=TOGETHER,
            allow_block_sharing=False,
        )  # fmt: skip
        self.manager = module.init_continuous_batching(generation_config=asked, continuous_batching_config=room)
        self.manager.start()
        self._count = 0

    def write(self, prompt: Sequence[int], sampling: Sampling, deadline: float | None = None) -> Stream:
        self._count += 1
        name, made, told = f"r{self._count}", Waiting(sampling.max_tokens), [0]

        def hand(output: Any) -> None:
            for token in output.generated_tokens[told[0] :]:
                made.queue.put_nowait(token)
            told[0] = len(output.generated_tokens)

        self.manager.register_result_handler(name, hand)
        self.manager.add_request(
            list(prompt), name, max_new_tokens=sampling.max_tokens, streaming=True, eos_token_id=-1
        )  # fmt: skip
        return made

    def stop(self) -> None:
        self.manager.stop(block=True)


class Llama(Peer):
    """llama.cpp's server, as many slots as requests."""

    spec = "llama.cpp"

    def __init__(self, path: Path, threads: int) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_parallel, params.n_ctx = TOGETHER, TOGETHER * 256
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.cache_prompt, params.warmup, params.verbosity = False, True, -1
        params.cache_ram_mib, params.n_gpu_layers = 0, 0
        with silent():
            self._server = xllamacpp.Server(params)
        self._threads = ThreadPoolExecutor(64)

    def write(self, prompt: Sequence[int], sampling: Sampling, deadline: float | None = None) -> Stream:
        made, loop = Waiting(sampling.max_tokens), asyncio.get_running_loop()

        def ask() -> None:
            asked = {
                "prompt": list(prompt), "n_predict": sampling.max_tokens, "temperature": 0.0, "samplers": ["top_k"],
                "top_k": 1, "cache_prompt": False, "ignore_eos": True,
            }  # fmt: skip
            found = self._server.handle_completions(asked)
            count = found.get("usage", {}).get("completion_tokens", 0)
            if count != sampling.max_tokens:
                raise RuntimeError(f"llama.cpp wrote {count} of {sampling.max_tokens} tokens: {str(found)[:300]}")
            for _ in range(count):
                loop.call_soon_threadsafe(made.queue.put_nowait, -1)

        loop.run_in_executor(self._threads, ask)
        return made


def requests(prompts: Sequence[tuple[int, ...]], seed: int, count: int, rate: float) -> list[Request]:
    """Requests of one replay; all at once with a rate of 0."""
    dice, when, made = random.Random(seed), 0.0, []
    for _ in range(count):
        made.append(Request(when, dice.randint(LEAST, MOST), prompt=dice.choice(prompts)))
        when += dice.expovariate(rate) if rate else 0.0
    return made


def greedy(module: Any, prompt: Sequence[int], count: int) -> list[int]:
    """What a request gets alone, with transformers' own cache."""
    import torch
    from transformers import DynamicCache

    cache, ids, made = DynamicCache(config=module.config), torch.tensor([prompt]), []
    with torch.inference_mode():
        for _ in range(count):
            out = module(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            ids = out.logits[:, -1].argmax(-1, keepdim=True)
            made.append(int(ids))
    return made


def identical(ways: Sequence[Any], model: LanguageModel, prompts: Sequence[tuple[int, ...]]) -> dict[str, float]:
    """The share of requests of a burst whose tokens are those of plain greedy decoding."""
    asked = requests(prompts, 0, TOGETHER, 0.0)
    truth = [greedy(model.module, one.prompt, one.size) for one in asked]

    async def written(way: Any) -> list[list[int]]:
        batcher = way.start(model, Limits())

        async def one(request: Request) -> list[int]:
            return [token.id async for token in batcher.write(request.prompt, Sampling(request.size))]

        try:
            return list(await asyncio.gather(*map(one, asked)))
        finally:
            await batcher.close()

    found = {way.spec: asyncio.run(written(way)) for way in ways}
    return {spec: statistics.fmean(a == b for a, b in zip(one, truth, strict=True)) for spec, one in found.items()}


def measured(
    ways: Sequence[Any], model: LanguageModel, rounds: int, asked: Callable[[int], list[Request]], slo: float
) -> dict[str, list[tuple[list[Outcome], float, float]]]:
    """Of each way and round: outcomes, seconds, and processor seconds."""
    mixer, found = random.Random(0), {way.spec: [] for way in ways}  # type: ignore[var-annotated]
    for number in range(rounds):
        for way in mixer.sample(list(ways), len(ways)):
            start, spent = time.perf_counter(), time.process_time()
            outcomes = asyncio.run(replayed(way, model, Limits(), asked(number), slo))
            found[way.spec].append((outcomes, time.perf_counter() - start, time.process_time() - spent))
        print(f"round {number + 1} of {rounds}", flush=True)
    return found


def told_burst(found: dict[str, list[tuple[list[Outcome], float, float]]]) -> dict[str, Any]:
    """Tokens a second, and paired ratios of times to `single`."""
    speed = {
        spec: [sum(one.size for one in made) / max(one.latency for one in made) for made, _, _ in rounds]
        for spec, rounds in found.items()
    }
    cpu = {spec: [spent for _, _, spent in rounds] for spec, rounds in found.items()}
    figures: dict[str, Any] = {}
    rows = []
    for spec in found:
        ratio, less = (
            sorted(mine / other for mine, other in zip(of[spec], of["single"], strict=True)) for of in (speed, cpu)
        )
        middle = statistics.median(speed[spec])
        gain, cost = statistics.median(ratio), statistics.median(less)
        rows.append((spec, middle, gain, f"{ratio[0]:.3g} to {ratio[-1]:.3g}", cost))
        figures[spec] = {
            "tokens_per_second": middle, "times_single": [ratio[0], gain, ratio[-1]], "cpu_of_single": cost,
        }  # fmt: skip
    table(("burst of 8", "tokens/s", "times single", "least and greatest", "CPU seconds / single's"), rows)
    return figures


def told_open(found: dict[str, list[tuple[list[Outcome], float, float]]], rate: float, slo: float) -> dict[str, Any]:
    """Goodput and percentiles over all replays."""
    figures, rows = {}, []
    for spec, rounds in found.items():
        every = [one for made, _, _ in rounds for one in made]
        good = sum(one.answered and one.latency <= slo for one in every) / len(every) * rate
        p99, first = (
            sorted(values)[-(-99 * len(values) // 100) - 1]
            for values in ([one.latency for one in every], [one.first for one in every])
        )
        figures[spec] = {
            "goodput": good,
            "p99_ms": p99 * 1e3,
            "ttft_p99_ms": None if spec == Llama.spec else first * 1e3,
        }
        rows.append((spec, good, p99 * 1e3, figures[spec]["ttft_p99_ms"] or "-"))
    table((f"open loop, {rate:g} requests/s", f"goodput within {slo:g} s", "p99 ms", "first token p99 ms"), rows)
    return figures


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--replays", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--slo", type=float, default=6000.0)
    parser.add_argument("--requests", type=int, default=20)
    given = parser.parse_args()
    import torch

    from weigh.data import manual, smollm2
    from weigh.model.module import load_module, load_tokenizer
    from weigh.model.source import open_source
    from weigh.model.text import windows

    torch.set_num_threads(given.threads)
    source = open_source(smollm2.path())
    prompts = [tuple(row) for row in windows(manual.text(), load_tokenizer(source), PROMPT)[:200].tolist()]
    model = LanguageModel(load_module(source, "float32"), frozenset(), PROMPT + MOST, given.threads)
    FOLDER.mkdir(parents=True, exist_ok=True)
    paged, llama = Paged(load_module(source, "float32")), Llama(gguf_of(source, "F32", FOLDER), given.threads)
    ways = [Single(), Window(most=TOGETHER), Continuous(slots=TOGETHER), paged, llama]
    try:
        same = identical(ways[:-1], model, prompts)
        print(same, flush=True)
        burst = measured(ways, model, given.rounds, lambda place: requests(prompts, place, TOGETHER, 0.0), 60.0)
        figures = told_burst(burst)
        slo = given.slo / 1e3
        opened = measured(
            ways, model, given.replays, lambda place: requests(prompts, 1000 + place, given.requests, given.rate), slo
        )
        loop = told_open(opened, given.rate, slo)
    finally:
        paged.stop()
    report(
        "batching",
        {"identical": same, "burst": figures, "open_loop": loop, "threads": given.threads, "rate": given.rate,
         "slo_ms": given.slo, "rounds": given.rounds, "replays": given.replays},
    )  # fmt: skip


if __name__ == "__main__":
    main()

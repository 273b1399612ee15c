"""A GGUF in llama.cpp's own server, which batches continuously; what waits, ends and is given up is kept here."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, final

from weigh.choice import Unfit
from weigh.serve._silent import silent
from weigh.serve.batching import Batcher, Closed, GgufModel, Late, Limits, Load, Sampling, Stream, Token
from weigh.serve.batching._queue import Entry, Queue
from weigh.serve.batching._sampling import COLD

SEEDS = 2**32 - 1


@final
class _Asked(Entry):
    """One request; chunks come in a thread of its own and are handed over on the event loop."""

    def __init__(
        self, prompt: Sequence[int], sampling: Sampling, end: int, deadline: float | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:  # fmt: skip
        super().__init__(deadline)
        self.prompt, self.sampling, self.arrived = prompt, sampling, time.monotonic()
        self.left = False
        self._end, self._loop = end, loop
        self._count, self._over = 0, False
        self._held: Token | None = None
        self.made: asyncio.Queue[Token | Exception] = asyncio.Queue()

    @property
    def most(self) -> int:
        """Tokens that it may come to, prompt and answer."""
        return len(self.prompt) + self.sampling.max_tokens

    def given_up(self) -> bool:
        return self.left

    def fail(self, error: Exception) -> None:
        if not self._over:
            self._over = True
            self._hand(error)

    def _hand(self, made: Token | Exception) -> None:
        self._loop.call_soon_threadsafe(self.made.put_nowait, made)

    def chunk(self, told: Mapping[str, Any]) -> bool:
        """In the thread: a part of the answer; true: no more of it is wanted."""
        if "error" in told:
            self.fail(RuntimeError(f"llama.cpp: {told['error'].get('message', told['error'])}"))
        elif self.deadline is not None and self.deadline <= time.monotonic():
            self.fail(Late("the deadline passed while the answer was written"))
        elif told.get("choices"):
            self._choice(told["choices"][0])
        return self.left or self._over

    def _choice(self, choice: Mapping[str, Any]) -> None:
        scores = (choice.get("logprobs") or {}).get("content") or [{}]
        if choice["text"]:
            for place, score in enumerate(scores):
                self._token(choice["text"] if place == len(scores) - 1 else "", score)
        if choice["finish_reason"]:
            self._last(choice["finish_reason"])

    def _token(self, text: str, score: Mapping[str, Any]) -> None:
        if self._held is not None:
            self._hand(self._held)
        self._count += 1
        asked = self.sampling.logprobs is not None and "logprob" in score
        top = tuple((one["id"], one["logprob"]) for one in score.get("top_logprobs", ())[: self.sampling.logprobs or 0])
        self._held = Token(score.get("id", -1), "", score["logprob"] if asked else None, top if asked else (), text)

    def _last(self, reason: str) -> None:
        """The last token says why there is no other; an end is a token of its own."""
        held, self._over = self._held, True
        if reason == "length":
            self._hand((held or Token(-1, text=""))._replace(end="length"))
            return
        if held is not None:
            self._hand(held)
        self._hand(Token(self._end, "stop", text=""))


@final
class _Tokens(Stream):
    """What the reader of an answer holds; when it is closed, cancelled or forgotten no more is written."""

    def __init__(self, asked: _Asked) -> None:
        self._asked, self._over = asked, False

    async def __anext__(self) -> Token:
        if self._over:
            raise StopAsyncIteration
        try:
            made = await self._asked.made.get()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        self._over = isinstance(made, Exception) or bool(made.end)
        if isinstance(made, Exception):
            raise made
        return made

    async def aclose(self) -> None:
        self._over = self._asked.left = True

    def __del__(self) -> None:
        self._asked.left = True


@final
class LlamaWriter(Batcher):
    """llama.cpp's server in this process, given token ids; keys and values of all slots share one room.

    Raises:
        Unfit: llama.cpp cannot load the file.
    """

    def __init__(self, model: GgufModel, limits: Limits, slots: int) -> None:
        self._model, self._slots = model, slots
        self._room = max(model.context, min(slots * model.context, limits.tokens))
        self._loop = asyncio.get_running_loop()
        self._queue: Queue[_Asked] = Queue(limits)
        self._running: set[_Asked] = set()
        self._server = _server(model, slots, self._room)
        self._pool = ThreadPoolExecutor(slots, "weigh-llama")
        self._lock = threading.Lock()

    def write(self, prompt: Sequence[int], sampling: Sampling, deadline: float | None = None) -> Stream:
        if not prompt or sampling.max_tokens < 1 or len(prompt) + sampling.max_tokens > self._model.context:
            raise ValueError(
                f"a prompt of {len(prompt)} tokens and {sampling.max_tokens} to write do not fit: both must be 1 or "
                f"more, and together {self._model.context} at most"
            )
        self._queue.admit()
        asked = _Asked(prompt, sampling, min(self._model.ends, default=-1), deadline, self._loop)
        self._queue.entries.append(asked)
        self._wake()
        return _Tokens(asked)

    def load(self) -> Load:
        return Load(len(self._queue), len(self._running))

    def _wake(self) -> None:
        """Begin what has a slot and room."""
        while len(self._running) < self._slots and (asked := self._queue.next()) is not None:
            if self._running and asked.most + sum(one.most for one in self._running) > self._room:
                self._queue.entries.appendleft(asked)
                return
            self._running.add(asked)
            self._loop.run_in_executor(self._pool, self._written, asked).add_done_callback(
                lambda _, asked=asked: self._ended(asked)  # type: ignore[misc]
            )

    def _written(self, asked: _Asked) -> None:
        """In a thread: the whole answer."""
        try:
            self._server.handle_completions(body(asked.prompt, asked.sampling), asked.chunk)
            if not asked.left:
                asked.fail(RuntimeError("llama.cpp ended an answer without saying why"))
        except Exception as error:  # whatever llama.cpp raises ends this answer, not the service
            asked.fail(error)

    def _ended(self, asked: _Asked) -> None:
        self._running.discard(asked)
        self._queue.took((time.monotonic() - asked.arrived) / self._slots, 1)
        self._wake()

    async def close(self, drain: float = 0.0) -> None:
        self._queue.closed = True
        until = time.monotonic() + drain
        while time.monotonic() < until and any(self.load()):
            await asyncio.sleep(min(0.02, drain))
        gone = Closed("the model was shut down before the answer was written")
        self._queue.fail_all(gone)
        for asked in self._running:
            asked.fail(gone)
        while self._running:
            await asyncio.sleep(0.005)
        self._pool.shutdown()
        self._server = None


def body(prompt: Sequence[int], sampling: Sampling) -> dict[str, Any]:
    """A request to llama.cpp's server."""
    cold = sampling.temperature < COLD or sampling.top_p <= 0
    chosen: dict[str, Any] = (
        {"temperature": 0.0, "samplers": ["top_k"], "top_k": 1}
        if cold
        else {"temperature": sampling.temperature, "samplers": ["temperature", "top_p"], "top_p": sampling.top_p}
    )
    seed = {} if sampling.seed is None else {"seed": sampling.seed % SEEDS}
    scores = {} if sampling.logprobs is None else {"n_probs": max(1, sampling.logprobs)}
    return {
        "prompt": list(prompt), "n_predict": sampling.max_tokens, "cache_prompt": False, "stream": True,
        **chosen, **seed, **scores,
    }  # fmt: skip


def _server(model: GgufModel, slots: int, room: int) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model.path)
    params.n_parallel, params.n_ctx, params.kv_unified = slots, room, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = model.threads
    params.cache_prompt, params.warmup, params.verbosity = False, True, -1
    params.cache_ram_mib, params.n_gpu_layers = 0, 0
    try:
        with silent():
            return xllamacpp.Server(params)
    except RuntimeError as error:
        raise Unfit(f"llama.cpp cannot load {model.path}: {error}") from None

"""A language model in this process as a `TextEngine`: its tokenizer, its chat template, and a batcher that writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, final

from weigh.choice import UsageError
from weigh.serve.batching import (
    Batcher,
    Batching,
    Closed,
    Full,
    GgufModel,
    LanguageModel,
    Late,
    Limits,
    Load,
    Sampling,
    Stream,
    Token,
)
from weigh.server.language import About, Ask, Piece, Scored, Settings, TextEngine, TextError, merged
from weigh.server.language_text import Detokenizer, Stopper, token_text

PLATFORMS = {"huggingface": "pytorch_text", "gguf": "llamacpp_text"}
CONTEXT = 8192
"""The most tokens of prompt and answer where nobody says otherwise; less where the model has less."""


@final
class LocalEngine(TextEngine):
    """Writes with a batcher; all methods belong to the event loop on which the batcher was started.

    Args:
        batcher: of `weigh.serve.batching`, over the model.
        tokenizer: of transformers.
        about: what is served.
        vocabulary: tokens that the model knows.
        digest: of the model's content, SHA-256 in hexadecimal digits.
        platform: what runs it, as the Open Inference Protocol names platforms.
    """

    def __init__(
        self, batcher: Batcher, tokenizer: Any, about: About, vocabulary: int, digest: str = "", platform: str = ""
    ) -> None:  # fmt: skip
        self.digest, self.platform = digest, platform
        self._batcher, self._tokenizer, self._about, self._vocabulary = batcher, tokenizer, about, vocabulary
        self._longest = max((len(word.encode("utf-8", "replace")) for word in tokenizer.get_vocab()), default=1)
        self._encoder = ThreadPoolExecutor(1, "weigh-encode")  # tokenizers may not encode in two threads at once

    async def about(self) -> About:
        return self._about

    def load(self) -> Load:
        """How busy the batcher is."""
        return self._batcher.load()

    async def close(self, drain: float = 0.0) -> None:
        """End; what is under way gets `drain` seconds."""
        await self._batcher.close(drain)
        self._encoder.shutdown(wait=False)

    async def write(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        deadline = None if ask.within is None else time.monotonic() + ask.within
        ids = await asyncio.get_running_loop().run_in_executor(self._encoder, self._encoded, ask)
        settings = replace(ask.settings, max_tokens=self._room(len(ids), ask.settings.max_tokens))
        streams = await self._started(ids, settings, ask.n, deadline)
        answers = [self._answer(stream, ids, settings, place) for place, stream in enumerate(streams)]
        try:
            async with aclosing(merged(answers)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            for stream in streams:
                await stream.aclose()

    def _encoded(self, ask: Ask) -> list[int]:
        """The prompt's token ids.

        Raises:
            TextError: it has none, or they are none of this model's.
        """
        if ask.messages is not None:
            ids = self._templated(ask.messages)
        elif ask.text is not None:
            ids = self._ids(ask.text, "prompt", True)
        else:
            ids = list(ask.ids or ())
        if not ids:
            raise TextError("invalid", "the prompt is empty: give at least one token", "prompt")
        if not 0 <= min(ids) <= max(ids) < self._vocabulary:
            raise TextError("invalid", f"token ids of this model are 0 to {self._vocabulary - 1}", "prompt")
        return ids

    def _templated(self, messages: Sequence[Any]) -> list[int]:
        """Messages in the model's own chat template, which transformers render in Jinja's sandbox."""
        if not self._about.chat:
            raise TextError(
                "invalid", "this model has no chat template: send the whole prompt to /v1/completions", "messages"
            )
        try:
            text = self._tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
        except Exception as error:  # a template raises what it likes about messages that it does not take
            raise TextError(
                "invalid", f"the model's chat template refuses these messages: {error}", "messages"
            ) from None
        return self._ids(text, "messages", False)

    def _ids(self, text: str, name: str, special: bool) -> list[int]:
        """The token ids of a text, unless it is too long for the context whatever its tokens are."""
        least = -(-len(text.encode("utf-8", "surrogatepass")) // self._longest)
        if least > self._about.context:
            raise TextError(
                "context_length_exceeded",
                f"this model's context is {self._about.context} tokens; the prompt has at least {least}: shorten it",
                name,
            )
        return list(self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])

    def _room(self, prompt: int, asked: int | None) -> int:
        """How many tokens may be written.

        Raises:
            TextError: the context is too short.
        """
        context = self._about.context
        wanted = 1 if asked is None else asked
        if prompt + wanted > context:
            raise TextError(
                "context_length_exceeded",
                f"this model's context is {context} tokens; the prompt has {prompt}, and {wanted} were to be written: "
                "shorten the prompt, or ask for fewer",
                "messages" if asked is None or prompt >= context else "max_tokens",
            )
        return min(self._about.default_tokens, context - prompt) if asked is None else asked

    async def _started(
        self, ids: Sequence[int], settings: Settings, count: int, deadline: float | None
    ) -> list[Stream]:
        """All answers, or none where there is no room for all."""
        streams: list[Stream] = []
        assert settings.max_tokens is not None
        for place in range(count):
            seed = None if settings.seed is None else settings.seed + place
            sampling = Sampling(settings.max_tokens, settings.temperature, settings.top_p, seed, settings.logprobs)
            try:
                with _told():
                    streams.append(self._batcher.write(ids, sampling, deadline))
            except TextError:
                for stream in streams:
                    await stream.aclose()
                raise
        return streams

    async def _answer(
        self, stream: Stream, ids: Sequence[int], settings: Settings, index: int
    ) -> AsyncGenerator[Piece, None]:
        detokenizer, stopper = Detokenizer(self._tokenizer, ids), Stopper(settings.stop)
        with _told():
            async for token in stream:
                known = "" if token.end == "stop" else token.text
                text = stopper.push(detokenizer.push(token.id) if known is None else known)
                if token.end and not stopper.stopped:
                    text += stopper.push(detokenizer.flush())
                    text += "" if stopper.stopped else stopper.flush()
                finish = "stop" if stopper.stopped else token.end
                yield Piece(text, 1, len(ids), index, finish, self._scores(token))
                if stopper.stopped:
                    await stream.aclose()
                    return

    def _scores(self, token: Token) -> tuple[Scored, ...]:
        if token.logprob is None:
            return ()
        top = tuple(Scored(*token_text(self._tokenizer, one), score) for one, score in token.top)
        return (Scored(*token_text(self._tokenizer, token.id), token.logprob, top),)


@contextmanager
def _told() -> Iterator[None]:
    """What batchers raise, as `TextError`."""
    try:
        yield
    except Full as error:
        raise TextError("full", str(error), retry_after=error.retry_after) from None
    except Late as error:
        raise TextError("late", str(error)) from None
    except Closed as error:
        raise TextError("closed", str(error)) from None
    except (TextError, GeneratorExit, asyncio.CancelledError):
        raise
    except Exception as error:
        raise TextError("failed", f"the model failed: {type(error).__name__}: {error}") from error


def open_engine(
    path: Path, batching: Batching, threads: int = 1, limits: Limits | None = None, context: int = CONTEXT
) -> LocalEngine:
    """Check a language model, load it, and make it serve; called on the event loop that will use it.

    Args:
        path: a Hugging Face folder, or a .gguf file, which llama.cpp runs.
        batching: an option of serve/batching.
        context: the most tokens of prompt and answer together; the model's own limit where that is lower.

    Raises:
        UsageError: it is none of them, or damaged.
        Unfit: the option cannot serve it.
    """
    from weigh.model.module import load_module, load_tokenizer
    from weigh.model.source import open_source

    source = open_source(path)
    if source.format not in ("huggingface", "gguf") or source.kind != "language":
        raise UsageError(
            f"model={path} is no language model in a Hugging Face folder (config.json, safetensors, tokenizer) or a "
            "GGUF; other models answer the Open Inference Protocol"
        )
    tokenizer, limits = load_tokenizer(source), limits or Limits()
    if source.format == "gguf":
        most, words = min(context, _context_of(source.path)), len(tokenizer)
        batcher = batching.start(GgufModel(source.path, _ends(None, tokenizer), most, threads), limits)
    else:
        module = load_module(source)
        config = module.config.get_text_config()
        most, words = min(context, getattr(config, "max_position_embeddings", None) or context), config.vocab_size
        batcher = batching.start(LanguageModel(module, _ends(module, tokenizer), most, threads), limits)
    about, platform = About(most, bool(tokenizer.chat_template)), PLATFORMS[source.format]
    return LocalEngine(batcher, tokenizer, about, words, source.digest, platform)


def _ends(module: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end an answer: those that the model's generation config names, and the tokenizer's own."""
    told = None if module is None else module.generation_config.eos_token_id
    named = told if isinstance(told, (list, tuple)) else [told]
    return frozenset(token for token in (*named, tokenizer.eos_token_id) if token is not None)


def _context_of(path: Path) -> int:
    """The context that a GGUF was trained for, in tokens."""
    from gguf import GGUFReader

    fields = GGUFReader(path).fields
    family = fields["general.architecture"].contents()
    return int(fields[f"{family}.context_length"].contents())

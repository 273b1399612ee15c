"""From tokens to text: no split characters, stop texts across tokens, bytes of tokens; and engines that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from byte_words import END, byte_llama
from hypothesis import given
from hypothesis import strategies as st

from weigh.choice import UsageError
from weigh.model.huggingface import tokenizer as load
from weigh.serve.batching import Closed, Full, Late
from weigh.serve.batching.continuous import Continuous
from weigh.server.language import Ask, Piece, Settings, TextError, joined, merged
from weigh.server.language_engine import LocalEngine, open_engine
from weigh.server.language_text import Detokenizer, Stopper, token_text
from weigh.server.openai_read import ApiError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return byte_llama(tmp_path_factory.mktemp("bytes"))


@pytest.fixture(scope="module")
def words(folder: Path) -> Any:
    return load(folder)


@given(text=st.text(max_size=30), before=st.text(max_size=5))
def test_characters_come_whole_and_nothing_is_lost(words: Any, text: str, before: str):
    made = Detokenizer(words, list(before.encode()))
    parts = [made.push(byte) for byte in text.encode()]
    assert all("\ufffd" not in part for part in parts) or "\ufffd" in text
    assert "".join(parts) + made.flush() == text


def test_bytes_that_are_no_character_are_shown_in_the_end_and_special_tokens_are_not(words: Any):
    made = Detokenizer(words, [])
    assert [made.push(byte) for byte in b"a\xe2\x82"] == ["a", "", ""] and made.flush() == "\ufffd"
    assert Detokenizer(words, []).push(END) == ""
    long = Detokenizer(words, [])
    assert "".join(long.push(0xFF) for _ in range(200)).count("\ufffd") >= 180, (
        "what is never whole is not held for ever"
    )


@given(
    text=st.text("abE", max_size=40),
    stops=st.lists(st.text("abE", min_size=1, max_size=4), max_size=3),
    seed=st.randoms(),
)
def test_an_answer_ends_before_the_first_stop_text_however_it_is_cut(text: str, stops: list[str], seed: Any):
    stopper, shown, left = Stopper(stops), "", text
    while left and not stopper.stopped:
        size = seed.randint(1, 3)
        shown, left = shown + stopper.push(left[:size]), left[size:]
    shown += "" if stopper.stopped else stopper.flush()
    # the first stop text to be complete cuts, from its earliest place
    ends = {(text.find(stop) + len(stop)) for stop in stops if stop in text}
    assert stopper.stopped == bool(ends)
    if not ends:
        assert shown == text
    else:
        assert text.startswith(shown) and all(stop not in shown for stop in stops)
        assert any(text[len(shown) :].startswith(stop) for stop in stops)


def test_bytes_of_tokens(words: Any):
    assert token_text(words, ord("a")) == ("a", (97,))
    assert token_text(words, 0xE2) == ("\ufffd", (0xE2,))
    assert token_text(words, 32) == (" ", (32,))


def run(folder: Path, use: Any) -> Any:
    async def whole() -> Any:
        engine = open_engine(folder, Continuous())
        try:
            return await use(engine)
        finally:
            await engine.close()

    return asyncio.run(whole())


def test_an_engine_writes_pieces_that_join_to_the_answer(folder: Path):
    async def use(engine: LocalEngine) -> tuple[list[Piece], Any]:
        ask = Ask(Settings(10, temperature=0.0), text="abc")
        return [piece async for piece in engine.write(Ask.of(ask.plain()))], await engine.about()

    pieces, about = run(folder, use)
    assert sum(piece.tokens for piece in pieces) == 10 and pieces[-1].finish == "length" and about.context == 512
    assert about.chat and {piece.prompt_tokens for piece in pieces} == {3} and joined(pieces)
    assert [Piece.of(piece.plain()) for piece in pieces] == pieces


def test_an_answer_without_a_limit_ends_with_the_context(folder: Path):
    async def use(engine: LocalEngine) -> list[Piece]:
        return [piece async for piece in engine.write(Ask(Settings(temperature=0.0), ids=(5,) * 500))]

    pieces = run(folder, use)
    assert pieces[-1].finish in ("length", "stop") and sum(piece.tokens for piece in pieces) <= 12


def test_a_text_far_beyond_the_context_is_refused_before_it_is_encoded(folder: Path):
    async def use(engine: LocalEngine) -> None:
        engine._tokenizer = None  # nothing encodes
        async for _ in engine.write(Ask(Settings(1), text="a" * 10_000_000)):
            raise AssertionError("it does not fit")

    with pytest.raises(TextError, match="context is 512 tokens; the prompt has at least") as error:
        run(folder, use)
    assert error.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("raised", "code", "status"),
    [(Full(3.0), "full", 429), (Late("late"), "late", 503), (Closed("closed"), "closed", 503),
     (RuntimeError("broken"), "failed", 500)],
)  # fmt: skip
def test_what_a_batcher_raises_is_told_with_a_status(
    folder: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, code: str, status: int
):
    async def use(engine: LocalEngine) -> None:
        def fail(*_: Any) -> Any:
            raise raised

        monkeypatch.setattr(engine._batcher, "write", fail)
        async for _ in engine.write(Ask(Settings(2), text="abc")):
            raise AssertionError("nothing can be written")

    with pytest.raises(TextError) as error:
        run(folder, use)
    found = ApiError.of(TextError.of(error.value.plain()))
    assert (error.value.code, found.status) == (code, status)
    assert found.retry_after == (3.0 if code == "full" else 1.0 if code == "closed" else 0.0)


def test_what_is_no_folder_of_a_language_model_is_refused(tmp_path: Path):
    async def start() -> None:
        open_engine(tmp_path / "none", Continuous())

    with pytest.raises(UsageError, match="no such file"):
        asyncio.run(start())


def test_merging_ends_with_the_first_error_and_closes_all():
    closed: list[str] = []

    async def counting(name: str, fails: bool) -> AsyncGenerator[str, None]:
        try:
            for place in range(3):
                await asyncio.sleep(0)
                yield f"{name}{place}"
            if fails:
                raise KeyError(name)
            await asyncio.sleep(60)
        finally:
            closed.append(name)

    seen: list[str] = []

    async def whole() -> None:
        async for made in merged([counting("a", True), counting("b", False)]):
            seen.append(made)

    with pytest.raises(KeyError):
        asyncio.run(whole())
    assert {"a0", "a1", "a2", "b0", "b1"} <= set(seen) and sorted(closed) == ["a", "b"]

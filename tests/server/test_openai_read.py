"""Whatever a body holds, it is read or refused in the API's form; nothing else happens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weigh.server.language import Ask
from weigh.server.openai_read import NEUTRAL, ApiError, Asked, read_chat, read_completions

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MESSAGES = [{"role": "user", "content": "x"}]
FIELDS = (
    "model", "messages", "prompt", "n", "stream", "stream_options", "temperature", "top_p", "seed", "stop", "user",
    "max_tokens", "logprobs", "top_logprobs", "max_completion_tokens", *NEUTRAL,
)  # fmt: skip


def outcome(body: bytes, chat: bool) -> Asked | ApiError:
    try:
        return read_chat(body) if chat else read_completions(body)
    except ApiError as error:
        return error


@given(
    fields=st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), VALUES, max_size=4),
    chat=st.booleans(), good=st.booleans(),
)  # fmt: skip
def test_any_json_is_read_or_refused(fields: dict[str, Any], chat: bool, good: bool):
    whole: dict[str, Any] = {"model": "m", **({"messages": MESSAGES} if chat else {"prompt": "x"})} if good else {}
    found = outcome(json.dumps({**whole, **fields}).encode(), chat)
    if isinstance(found, ApiError):
        assert found.status == 400 and found.message and found.body()["error"]["type"] == "invalid_request_error"
        return
    assert found.asks
    for ask in found.asks:
        assert Ask.of(json.loads(json.dumps(ask.plain()))) == ask
        assert 0 <= ask.settings.temperature <= 2 and 0 <= ask.settings.top_p <= 1 <= ask.n
        assert ask.settings.max_tokens is None or ask.settings.max_tokens >= 1


@given(body=st.binary(max_size=60))
def test_any_bytes_are_refused_in_form(body: bytes):
    with pytest.raises(ApiError):
        read_chat(body)


def test_defaults_are_those_of_the_api():
    chat = read_chat(json.dumps({"model": "m", "messages": MESSAGES}).encode())
    legacy = read_completions(b'{"model": "m", "prompt": [[1, 2], [3]], "logprobs": 0, "user": "me"}')
    settings = chat.asks[0].settings
    assert (settings.max_tokens, settings.temperature, settings.top_p, settings.seed) == (None, 1.0, 1.0, None)
    assert not chat.stream and chat.unit == "" and legacy.unit == "me"
    assert [ask.ids for ask in legacy.asks] == [(1, 2), (3,)]
    assert {ask.settings.max_tokens for ask in legacy.asks} == {16} and legacy.asks[0].settings.logprobs == 0

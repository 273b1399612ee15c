"""The OpenAI API over a real socket, asked by the real client: answers, streams, errors, and clients that go away."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
from byte_words import byte_llama

from weigh.serve.batching import Limits
from weigh.serve.batching._slots import Rows
from weigh.serve.batching.continuous import Continuous
from weigh.server.language import Ask, Piece, Settings, TextEngine
from weigh.server.language_engine import LocalEngine, open_engine
from weigh.server.openai import Card, Engines, reply, routes
from weigh.server.openai_read import read_completions

MESSAGES: Any = [{"role": "user", "content": "how are you?"}]
SLOTS, WAITING = 4, 4


class One(Engines):
    """One model, loaded when the server starts, on its loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.local: LocalEngine | None = None
        self.units: list[str] = []

    def cards(self) -> Sequence[Card]:
        return [Card("bytes", 1_700_000_000)]

    async def engine(self, model: str, unit: str) -> TextEngine:
        if model != "bytes":
            raise KeyError(model)
        self.units.append(unit)
        assert self.local is not None
        return self.local

    def busy(self) -> int:
        assert self.local is not None
        return sum(self.local.load())


class Served:
    """A server on a port of its own, in a thread."""

    def __init__(self, folder: Path) -> None:
        import uvicorn
        from starlette.applications import Starlette

        self.engines = One(folder)
        app = Starlette(routes=routes(self.engines))
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.thread.start()
        until = time.monotonic() + 60
        while not self.server.started:
            assert self.thread.is_alive() and time.monotonic() < until, "the server did not start"
            time.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"

    async def _run(self) -> None:
        self.engines.local = open_engine(self.engines.folder, Continuous(slots=SLOTS), limits=Limits(waiting=WAITING))
        await self.server.serve()
        await self.engines.local.close()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(byte_llama(tmp_path_factory.mktemp("bytes")))
    yield made
    made.stop()


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=served.url, api_key="none", max_retries=0, timeout=60) as made:
        yield made


def idle(served: Served, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while served.engines.busy():
        assert time.monotonic() < until, f"{served.engines.busy()} requests still hold slots"
        time.sleep(0.005)


def greedy(served: Served, ids: Sequence[int], count: int) -> str:
    """What the model writes without any cache or server."""
    from weigh.model.module import load_module, load_tokenizer
    from weigh.model.source import open_source

    source = open_source(served.engines.folder)
    net, tokenizer, text = load_module(source), load_tokenizer(source), list(ids)
    with torch.inference_mode():
        for _ in range(count):
            text.append(int(net(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1].argmax()))
    return str(tokenizer.decode(text[len(ids) :], skip_special_tokens=True))


def test_a_chat_is_answered_with_what_the_model_writes_after_its_own_template(served: Served, client: openai.OpenAI):
    found = client.chat.completions.create(model="bytes", messages=MESSAGES, max_tokens=12, temperature=0, user="u1")
    prompt = b"[user]how are you?[assistant]"
    assert found.choices[0].message.content == greedy(served, list(prompt), 12)
    assert found.choices[0].message.role == "assistant" and found.choices[0].finish_reason == "length"
    assert found.usage is not None and found.usage.prompt_tokens == len(prompt)
    assert (found.usage.completion_tokens, found.usage.total_tokens) == (12, 12 + len(prompt))
    assert found.object == "chat.completion" and found.model == "bytes" and found.id.startswith("chatcmpl-")
    assert served.engines.units[-1] == "u1"
    parts = [
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        *MESSAGES,
    ]
    system = client.chat.completions.create(model="bytes", messages=parts, max_completion_tokens=3, temperature=0)
    assert system.choices[0].message.content == greedy(served, list(b"[system]ab" + prompt), 3)


def test_a_stream_is_the_same_answer_in_parts(served: Served, client: openai.OpenAI):
    asked: Any = {"model": "bytes", "messages": MESSAGES, "max_tokens": 20, "temperature": 0, "n": 2}
    whole = client.chat.completions.create(**asked)
    events = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert events[-1].usage == whole.usage and events[-1].choices == []
    assert [event.choices[0].delta.role for event in events[:2]] == ["assistant", "assistant"]
    for index in range(2):
        mine = [event.choices[0] for event in events[:-1] if event.choices[0].index == index]
        assert "".join(one.delta.content or "" for one in mine) == whole.choices[index].message.content
        assert [one.finish_reason for one in mine] == [None] * (len(mine) - 1) + ["length"]
    assert len({event.id for event in events}) == 1
    raw = httpx.post(f"{served.url}/chat/completions", json={**asked, "stream": True})
    assert raw.headers["content-type"].startswith("text/event-stream") and raw.text.endswith("data: [DONE]\n\n")
    assert all(line == "" or line.startswith("data: ") for line in raw.text.split("\n"))


def test_completions_take_texts_and_tokens_and_several_of_them(served: Served, client: openai.OpenAI):
    prompts = ["abc", "hello world"]
    found = client.completions.create(model="bytes", prompt=prompts, max_tokens=7, temperature=0, n=2, logprobs=3)
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    expected = [greedy(served, list(prompt.encode()), 7) for prompt in prompts]
    assert [choice.text for choice in found.choices] == [expected[0]] * 2 + [expected[1]] * 2
    assert found.usage is not None and found.usage.prompt_tokens == 3 + 11 and found.usage.completion_tokens == 28
    scores = found.choices[0].logprobs
    assert scores is not None and scores.tokens is not None and len(scores.tokens) == 7 == len(scores.text_offset or [])
    assert all(len(top) <= 3 for top in scores.top_logprobs or [])
    by_ids = client.completions.create(model="bytes", prompt=list(b"abc"), max_tokens=7, temperature=0)
    assert by_ids.choices[0].text == expected[0]
    streamed = list(client.completions.create(model="bytes", prompt=prompts, max_tokens=7, temperature=0, stream=True))
    for index, text in enumerate(expected):
        mine = [event.choices[0].text for event in streamed if event.choices[0].index == index]
        assert "".join(mine) == text
    assert len(client.completions.create(model="bytes", prompt="a").usage.model_dump()) >= 3


def test_seeds_repeat_and_stop_texts_cut(served: Served, client: openai.OpenAI):
    def chat(**changed: Any) -> Any:
        return client.chat.completions.create(
            model="bytes", messages=MESSAGES, **{"max_tokens": 40, "temperature": 1.0, "seed": 3, **changed}
        ).choices[0]

    one, same, other = chat(), chat(), chat(seed=4)
    assert one.message.content == same.message.content != other.message.content
    stop = one.message.content[10:13]
    cut = chat(stop=[stop, "never there"])
    assert cut.message.content == one.message.content.partition(stop)[0] and cut.finish_reason == "stop"
    scored = chat(max_tokens=4, logprobs=True, top_logprobs=2)
    assert len(scored.logprobs.content) == 4
    token = scored.logprobs.content[0]
    assert bytes(token.bytes).decode(errors="replace") == token.token and len(token.top_logprobs) == 2
    assert token.top_logprobs[0].logprob >= token.logprob - 1e-5
    idle(served)


def test_models_are_listed(client: openai.OpenAI):
    assert [one.id for one in client.models.list()] == ["bytes"]
    assert client.models.retrieve("bytes").created == 1_700_000_000
    with pytest.raises(openai.NotFoundError, match="did you mean 'bytes'"):
        client.models.retrieve("byte")
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert error.value.code == "model_not_found" and error.value.param == "model"


BAD: list[tuple[dict[str, Any], str, str | None, str]] = [
    ({"messages": []}, "messages", "invalid_value", "at least 1"),
    ({"messages": None}, "messages", "invalid_value", "list"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role", "invalid_value", "system"),
    ({"messages": [{"role": "user"}]}, "messages.0.content", "missing_required_parameter", "missing"),
    ({"messages": [{"role": "user", "content": "x", "tool_calls": [1]}]}, "messages.0.tool_calls",
     "unsupported_parameter", "would change the answer"),
    ({"messages": [{"role": "assistant", "content": "first"}]}, "messages", None, "begin with the user"),
    ({"temperature": 3}, "temperature", "invalid_value", "less than or equal to 2"),
    ({"temperature": "1"}, "temperature", "invalid_value", "number"),
    ({"max_tokens": 0}, "max_tokens", "invalid_value", "greater"),
    ({"max_tokens": True}, "max_tokens", "invalid_value", "integer"),
    ({"n": 10**6}, "n", "invalid_value", "less"),
    ({"max_tokens": 10**6}, "max_tokens", "context_length_exceeded", "context is 512"),
    ({"messages": [{"role": "user", "content": "x" * 600}]}, "messages", "context_length_exceeded", "shorten"),
    ({"frequency_penalty": 0.5}, "frequency_penalty", "unsupported_parameter", "leave it out"),
    ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter", "not supported"),
    ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter", "not supported"),
    ({"top_logprobs": 3}, "top_logprobs", None, "needs logprobs"),
    ({"stream_options": {"include_usage": True}}, "stream_options", None, "needs stream"),
    ({"temprature": 1}, "temprature", "unknown_parameter", "did you mean 'temperature'"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "param", "code", "words"), BAD, ids=[str(one[0])[:40] for one in BAD])
def test_what_cannot_be_served_is_refused_in_words(
    served: Served, changed: dict[str, Any], param: str, code: str | None, words: str
):
    body = {"model": "bytes", "messages": MESSAGES, **changed}
    found = httpx.post(f"{served.url}/chat/completions", json=body)
    error = found.json()["error"]
    assert found.status_code == 400 and error["type"] == "invalid_request_error"
    assert (error["param"], error["code"]) == (param, code) and words in error["message"], error


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b'{"model": "\xff"}', b'{"model": NaN}', b"[" * 100_000,
     b'{"model": "\\ud800"}', b'{"model": "bytes", "messages": [{"role": "user", "content": 1e999}]}',
     b'{"model": 1, "messages": 2}'],
)  # fmt: skip
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_malformed_bodies_are_refused(served: Served, path: str, body: bytes):
    found = httpx.post(f"{served.url}/{path}", content=body)
    assert found.status_code == 400 and found.json()["error"]["message"]


def test_what_changes_nothing_is_taken(client: openai.OpenAI):
    found = client.chat.completions.create(
        model="bytes", messages=MESSAGES, max_tokens=2, temperature=0, frequency_penalty=0, presence_penalty=0.0,
        logit_bias={}, response_format={"type": "text"}, metadata={"a": "b"}, store=False, service_tier="auto",
        parallel_tool_calls=False, logprobs=False,
    )  # fmt: skip
    again: Any = [*MESSAGES, found.choices[0].message.model_dump(), *MESSAGES]
    assert client.chat.completions.create(model="bytes", messages=again, max_tokens=2).usage.completion_tokens == 2


def test_prompts_of_completions_are_checked(served: Served):
    for prompt, words in (([], "prompt"), ([1, 999], "0 to 258"), ([[1], []], "prompt"), ("", "empty"), (3, "prompt")):
        found = httpx.post(f"{served.url}/completions", json={"model": "bytes", "prompt": prompt, "max_tokens": 2})
        assert found.status_code == 400 and words in found.json()["error"]["message"], found.text
    found = httpx.post(f"{served.url}/completions", json={"model": "bytes", "prompt": ["a"] * 40, "n": 2})
    assert found.status_code == 400 and found.json()["error"]["param"] == "n"


def test_two_streams_go_on_side_by_side(served: Served):
    async def both() -> list[str]:
        order: list[str] = []

        async with openai.AsyncOpenAI(base_url=served.url, api_key="none", max_retries=0) as client:

            async def one(name: str) -> None:
                asked: Any = {"model": "bytes", "prompt": name, "max_tokens": 100, "temperature": 0, "stream": True}
                async for _ in await client.completions.create(**asked):
                    order.append(name)

            await asyncio.gather(one("a"), one("b"))
        return order

    order = asyncio.run(both())
    changes = sum(one != other for one, other in pairwise(order))
    assert changes > 20, "with one after the other there would be one change"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_slots(served: Served, stream: bool, monkeypatch: pytest.MonkeyPatch):
    idle(served)
    write = Rows.write
    monkeypatch.setattr(Rows, "write", lambda *given: (time.sleep(0.02), write(*given))[1])  # ten seconds for all
    body: Any = {"model": "bytes", "prompt": "a", "max_tokens": 500, "temperature": 0, "n": 4, "stream": stream}
    if stream:
        with httpx.stream("POST", f"{served.url}/completions", json=body) as found:
            assert found.status_code == 200
            next(found.iter_lines())
            assert served.engines.busy() == 4
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{served.url}/completions", json=body, timeout=0.05)
    idle(served, 3.0)


def test_a_full_queue_is_a_429_that_says_when_to_come_again(served: Served):
    idle(served)
    body: Any = {"model": "bytes", "prompt": "a", "max_tokens": 500, "temperature": 0, "n": 8, "stream": True}
    with httpx.stream("POST", f"{served.url}/completions", json=body) as first:
        next(first.iter_lines())
        found = httpx.post(f"{served.url}/completions", json={**body, "n": 12, "stream": False})
        assert found.status_code == 429 and int(found.headers["retry-after"]) >= 1
        assert found.json()["error"]["code"] == "rate_limit_exceeded"
    idle(served)


def test_asks_and_pieces_survive_json():
    ask = Ask(Settings(5, 0.5, 0.9, 3, ("a",), 2), messages=({"role": "user", "content": "x"},), n=2, within=1.5)
    assert Ask.of(json.loads(json.dumps(ask.plain()))) == ask
    assert Ask.of(json.loads(json.dumps(Ask(ids=(1, 2)).plain()))) == Ask(ids=(1, 2))
    assert Piece.of(json.loads(json.dumps(Piece("x", 1, 2, 3, "stop").plain()))) == Piece("x", 1, 2, 3, "stop")


def test_a_stream_that_was_never_begun_frees_its_slots_too(served: Served):
    async def drop() -> None:
        engine = open_engine(served.engines.folder, Continuous())
        body = {"model": "bytes", "prompt": "a", "max_tokens": 500, "temperature": 0, "stream": True}
        made = await reply(read_completions(json.dumps(body).encode()), engine)
        assert not isinstance(made.body, bytes) and engine.load().running == 1
        await made.body.aclose()
        await asyncio.sleep(0.1)
        assert engine.load() == (0, 0)
        await engine.close()

    asyncio.run(drop())

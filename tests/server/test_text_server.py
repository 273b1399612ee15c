"""A language model on a server: OpenAI's client, who meets whom, what is logged, and copies in the shadow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from byte_words import byte_llama
from servers import Running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("text")
    made = Running(byte_llama(home / "model"), home / "state", ("--batching", "continuous"))
    yield made.start()
    assert made.stop() == 0


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_the_client_gets_answers_streams_and_refusals(server: Running, client: openai.OpenAI):
    assert [one.id for one in client.models.list()] == ["net"]
    told = {
        "model": "net",
        "messages": [{"role": "user", "content": "how are you?"}],
        "max_tokens": 12,
        "temperature": 0,
    }
    whole = client.chat.completions.create(**told, user="ann")
    parts = list(client.chat.completions.create(**told, stream=True, stream_options={"include_usage": True}))
    text = "".join(one.choices[0].delta.content or "" for one in parts if one.choices)
    assert (
        text == whole.choices[0].message.content and parts[-1].usage.completion_tokens == whole.usage.completion_tokens
    )
    entry = next(one for one in server.logged() if one["id"] == whole.id)
    assert entry["arm"] == "champion" and entry["tokens"] == whole.usage.completion_tokens and entry["ttft_ms"] > 0
    assert len([one for one in server.logged() if one["status"] == 200]) == 2, "a stream is logged, too"
    with pytest.raises(openai.NotFoundError, match="there is no model 'nope'"):
        client.completions.create(model="nope", prompt="a")
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model="net", prompt="a", max_tokens=-1)
    status, _, found = server.infer()
    assert status == 400 and "is a language model" in found["error"]


def test_a_stream_that_is_broken_off_is_logged_and_frees_its_slot(server: Running, client: openai.OpenAI):
    stream = client.completions.create(model="net", prompt="a", max_tokens=500, stream=True, temperature=0)
    name = next(iter(stream)).id
    stream.close()
    server.wait(lambda: any(one["id"] == name for one in server.logged()))
    assert next(one for one in server.logged() if one["id"] == name)["status"] == 499
    server.wait(lambda: server.admin("GET", "/admin/status")[1]["arms"][0]["waiting"] == 0)
    assert client.completions.create(model="net", prompt="a", max_tokens=2).usage.completion_tokens == 2


def test_copies_of_requests_are_compared_in_the_shadow(server: Running, client: openai.OpenAI, tmp_path: Path):
    status, begun = server.begin(
        byte_llama(tmp_path / "other", seed=7),
        guardrails=["disagreement <= 0.2"],
        stages=[0.5, 1.0],
        shadow=True,
        least=20,
    )
    assert status == 200, begun
    for k in range(40):
        client.completions.create(model="net", prompt=f"{k}", max_tokens=6, temperature=0, user=f"u{k}")
    server.wait(lambda: server.admin("GET", "/admin/rollout")[1]["rollout"]["end"] == "rolled back")
    assert "disagreement <= 0.2 is broken" in server.admin("GET", "/admin/rollout")[1]["rollout"]["reason"]
    copies = [one for one in server.logged("shadow") if one["rollout"] == begun["id"]]
    assert {one["error"] for one in copies} == {0} and sum(one["disagreement"] for one in copies) > 10
    assert {one["arm"] for one in server.logged()} == {"champion"}

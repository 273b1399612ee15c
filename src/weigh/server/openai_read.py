"""Requests of OpenAI's chat and completions API, read strictly: what would change an answer is done or refused.

Source: OpenAI API reference, /v1/chat/completions and /v1/completions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weigh.choice import unknown
from weigh.server.language import Ask, Settings, TextError

Kind: TypeAlias = Literal["chat", "completions"]
LEGACY_TOKENS = 16
"""Tokens of a completion that asks for no number, as the API has it."""
MOST_STOPS, MOST_ANSWERS, MOST_TOP, MOST_PROMPTS = 16, 16, 20, 64

HARMLESS = {
    "metadata", "store", "service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "parallel_tool_calls", "prediction",
}  # fmt: skip
"""Fields that change nothing of an answer here: read over."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "tools": ([],), "functions": ([],),
    "tool_choice": ("none", "auto"), "function_call": ("none", "auto"), "response_format": ({"type": "text"},),
    "modalities": (["text"],), "audio": (), "web_search_options": (), "reasoning_effort": ("none",), "verbosity": (),
    "suffix": (), "echo": (False,), "best_of": (1,),
}  # fmt: skip
"""Fields that are not served, and the values (beside null) with which they change nothing."""
NEUTRAL_MESSAGE: dict[str, tuple[Any, ...]] = {
    "tool_calls": ([],), "function_call": (), "refusal": (), "audio": (), "annotations": ([],),
}  # fmt: skip


class ApiError(Exception):
    """A refusal in the API's form: HTTP status, and what the body's ``error`` says."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None,
        kind: str = "invalid_request_error", retry_after: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.kind, self.retry_after = kind, retry_after

    def body(self) -> dict[str, Any]:
        return {
            "error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code},
        }  # fmt: skip

    @classmethod
    def of(cls, error: TextError) -> ApiError:
        """What an engine raised."""
        param = error.param or None
        if error.code == "full":
            return cls(429, error.message, None, "rate_limit_exceeded", "requests", max(error.retry_after, 1.0))
        if error.code == "late":
            return cls(503, error.message, None, "deadline_exceeded", "server_error")
        if error.code == "closed":
            return cls(503, error.message, None, "shutting_down", "server_error", 1.0)
        if error.code == "failed":
            return cls(500, error.message, None, "model_failed", "server_error")
        return cls(400, error.message, param, None if error.code == "invalid" else error.code)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the API.

    Attributes:
        kind: which of the two.
        model: the name that it asks for.
        asks: one a prompt.
        unit: the user's id for sticky assignment; empty: none was given.
        stream: answer as server-sent events.
        usage: with the counts of tokens in a last event.
    """

    kind: Kind
    model: str
    asks: tuple[Ask, ...]
    unit: str
    stream: bool
    usage: bool


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Part(_Body):
    type: Literal["text"]
    text: str


class _Message(_Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[_Part], Field(min_length=1)]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        role = "system" if self.role == "developer" else self.role
        return {"role": role, "content": content, **({"name": self.name} if self.name else {})}


class _Events(_Body):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


Stop: TypeAlias = str | Annotated[list[str], Field(max_length=MOST_STOPS)] | None
Seed: TypeAlias = Annotated[int, Field(ge=-(2**63), lt=2**63)] | None


class _Asked(_Body):
    model: str = Field(min_length=1)
    stream: bool | None = None
    stream_options: _Events | None = None
    n: int | None = Field(None, ge=1, le=MOST_ANSWERS)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: Seed = None
    stop: Stop = None
    user: str | None = None
    max_tokens: int | None = Field(None, ge=1)

    def settings(self, most: int | None, logprobs: int | None) -> Settings:
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Settings(
            most, 1.0 if self.temperature is None else float(self.temperature),
            1.0 if self.top_p is None else float(self.top_p), self.seed, tuple(filter(None, stops)), logprobs,
        )  # fmt: skip


class _Chat(_Asked):
    messages: list[_Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_TOP)


Ids: TypeAlias = Annotated[list[int], Field(min_length=1)]


class _Completions(_Asked):
    prompt: str | Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS)] | Ids | Annotated[
        list[Ids], Field(min_length=1, max_length=MOST_PROMPTS)
    ]  # fmt: skip
    logprobs: int | None = Field(None, ge=0, le=MOST_TOP)


def read_chat(body: bytes) -> Asked:
    """A body of /v1/chat/completions.

    Raises:
        ApiError: it is malformed, or asks for what is not served.
    """
    plain = _fields(body)
    messages = plain.get("messages")
    if isinstance(messages, list):
        plain["messages"] = [
            _without(one, NEUTRAL_MESSAGE, f"messages.{place}.") if isinstance(one, dict) else one
            for place, one in enumerate(messages)
        ]
    asked = _checked(_Chat, plain)
    if asked.top_logprobs is not None and not asked.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs: true", "top_logprobs")
    most = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
    settings = asked.settings(most, (asked.top_logprobs or 0) if asked.logprobs else None)
    ask = Ask(settings, messages=tuple(message.plain() for message in asked.messages), n=asked.n or 1)
    return _whole("chat", asked, (ask,))


def read_completions(body: bytes) -> Asked:
    """A body of /v1/completions.

    Raises:
        ApiError: it is malformed, or asks for what is not served.
    """
    asked = _checked(_Completions, _fields(body))
    settings = asked.settings(LEGACY_TOKENS if asked.max_tokens is None else asked.max_tokens, asked.logprobs)
    prompt = asked.prompt
    several: list[Any] = [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else list(prompt)
    asks = tuple(
        Ask(settings, text=one, n=asked.n or 1) if isinstance(one, str)
        else Ask(settings, ids=tuple(one), n=asked.n or 1)
        for one in several
    )  # fmt: skip
    if len(asks) * (asked.n or 1) > MOST_PROMPTS:
        raise ApiError(400, f"prompts times n are {MOST_PROMPTS} at most: send several requests", "n")
    return _whole("completions", asked, asks)


def _whole(kind: Kind, asked: _Asked, asks: tuple[Ask, ...]) -> Asked:
    if asked.stream_options is not None and not asked.stream:
        raise ApiError(400, "stream_options needs stream: true", "stream_options")
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return Asked(kind, asked.model, asks, asked.user or "", bool(asked.stream), usage)


def _fields(body: bytes) -> dict[str, Any]:
    """The JSON object, without what changes nothing."""
    import orjson

    try:
        plain = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is no JSON: {error}") from None
    if not isinstance(plain, dict):
        raise ApiError(400, 'the body is no JSON object: send {"model": ..., ...}')
    return _without({name: value for name, value in plain.items() if name not in HARMLESS}, NEUTRAL)


def _without(plain: Mapping[str, Any], neutral: Mapping[str, tuple[Any, ...]], where: str = "") -> dict[str, Any]:
    """Without fields that have no effect as they are set.

    Raises:
        ApiError: one of them is set otherwise, and would change the answer.
    """
    left = {}
    for name, value in plain.items():
        if name not in neutral:
            left[name] = value
        elif value is not None and value not in neutral[name]:
            raise ApiError(
                400, f"'{where}{name}' is not supported by this server, and would change the answer: leave it out",
                where + name, "unsupported_parameter",
            )  # fmt: skip
    return left


B = TypeVar("B", bound=BaseModel)


def _checked(form: type[B], plain: dict[str, Any]) -> B:
    try:
        return form.model_validate(plain)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        first = found[0]
    path = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or (part.islower() and "[" not in part))
    if first["type"] == "extra_forbidden":
        name, known = str(first["loc"][-1])[:80], sorted(form.model_fields)
        near = unknown("parameter", name, known) if len(first["loc"]) == 1 else f"there is no field '{name}' in {path}"
        raise ApiError(400, near, path[:200], "unknown_parameter") from None
    if first["type"] == "missing":
        raise ApiError(400, f"'{path}' is missing", path, "missing_required_parameter") from None
    raise ApiError(400, f"'{path}': {first['msg']}", path, "invalid_value") from None

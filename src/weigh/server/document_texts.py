"""What stands in the OpenAPI document of a language model: OpenAI's API, as far as it is served."""

from __future__ import annotations

from typing import Any

from weigh.server.language import About
from weigh.server.openai_read import MOST_ANSWERS, MOST_PROMPTS, MOST_STOPS, MOST_TOP

WHOLE = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
MAYBE_NUMBER = {"type": ["number", "null"]}


def paths(name: str, headers: list[dict[str, Any]], private: bool) -> dict[str, Any]:
    """Path -> method -> operation.

    Args:
        name: of the model.
        headers: that a request may have.
        private: whether predictions need the token, too.
    """
    locked: dict[str, Any] = {"security": [{"token": []}]} if private else {}
    refusals = {
        400: "what was sent cannot be read, does not fit into the model's context, or is not served",
        404: "there is no such model", 408: "the body did not come in time", 413: "the body is too large",
        429: "too many requests wait; Retry-After says when to come again", 500: "the model failed",
        503: "the model is not there now, or the deadline passed",
    } | ({401: "the token is missing or another"} if private else {})  # fmt: skip

    def operation(kind: str, what: str, answer: str, stream: bool, *statuses: int, **more: Any) -> dict[str, Any]:
        content: dict[str, Any] = {"application/json": {"schema": _ref(answer)}}
        if stream:
            content["text/event-stream"] = {"schema": TEXT}
        found: dict[str, Any] = {"200": {"description": what, "content": content}}
        for status in statuses:
            content = {"application/json": {"schema": _ref("ApiError")}}
            found[str(status)] = {"description": refusals[status], "content": content}
        return {"operationId": kind, "summary": what, "responses": found, **more}

    def written(kind: str, what: str, asked: str, answer: str) -> dict[str, Any]:
        body = {"required": True, "content": {"application/json": {"schema": _ref(asked)}}}
        more = {"parameters": headers, "requestBody": body, **locked}
        return {"post": operation(kind, what, answer, True, *refusals, **more)}

    return {
        "/v1/models": {"get": operation("models", "what is served", "Cards", False)},
        f"/v1/models/{name}": {"get": operation("card", "the model", "Card", False)},
        "/v1/chat/completions": written("chat", "what the assistant says, whole or as events", "Chat", "ChatAnswer"),
        "/v1/completions": written("complete", "how a text goes on, whole or as events", "Prompt", "TextAnswer"),
    }


def schemas(name: str, about: About) -> dict[str, Any]:
    """Schema's name -> schema."""
    tokens = {"type": ["integer", "null"], "minimum": 1, "description": f"prompt and answer: {about.context} at most"}
    shared = {
        "model": {"const": name}, "stream": {"type": ["boolean", "null"]}, "max_tokens": tokens,
        "n": {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_ANSWERS},
        "temperature": MAYBE_NUMBER | {"minimum": 0, "maximum": 2},
        "top_p": MAYBE_NUMBER | {"minimum": 0, "maximum": 1},
        "seed": {"type": ["integer", "null"], "minimum": -(2**63), "maximum": 2**63 - 1},
        "stop": _any(TEXT, {"type": "null"}, {"type": "array", "items": TEXT, "maxItems": MOST_STOPS}),
        "user": {"type": ["string", "null"], "description": "whom the answer is for: the same user meets the same arm"},
    }  # fmt: skip
    ids = {"type": "array", "items": WHOLE, "minItems": 1}
    prompts = [{"type": "array", "items": one, "minItems": 1, "maxItems": MOST_PROMPTS} for one in (TEXT, ids)]
    message = {"role": {"enum": ["system", "developer", "user", "assistant"]}, "content": TEXT}
    answered = {"index": WHOLE, "finish_reason": TEXT}
    return {
        "Chat": _closed(
            {**shared, "messages": {"type": "array", "minItems": 1, "items": _closed(message, *message)},
             "max_completion_tokens": tokens, "logprobs": {"type": ["boolean", "null"]}}, "model", "messages",
        ),
        "Prompt": _closed(
            {**shared, "prompt": _any(TEXT, ids, *prompts),
             "logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": MOST_TOP}}, "model", "prompt",
        ),
        "ChatAnswer": _answer(
            {**answered, "message": _open({"role": {"const": "assistant"}, "content": TEXT})}, "chat.completion"
        ),
        "TextAnswer": _answer({**answered, "text": TEXT}, "text_completion"),
        "Card": _open({"id": {"const": name}, "object": {"const": "model"}, "created": WHOLE, "owned_by": TEXT}),
        "Cards": _open({"object": {"const": "list"}, "data": {"type": "array", "items": _ref("Card")}}),
        "ApiError": _open(
            {"error": _open(
                {"message": TEXT, "type": TEXT, "param": {"type": ["string", "null"]},
                 "code": {"type": ["string", "null"]}}
            )}
        ),
    }  # fmt: skip


def _answer(choice: dict[str, Any], kind: str) -> dict[str, Any]:
    counts = {"prompt_tokens": WHOLE, "completion_tokens": WHOLE, "total_tokens": WHOLE}
    return _open(
        {"id": TEXT, "object": {"const": kind}, "created": WHOLE, "model": TEXT,
         "choices": {"type": "array", "items": _open(choice), "minItems": 1}, "usage": _open(counts)}
    )  # fmt: skip


def _open(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _any(*schemas: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": schemas}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}

"""The OpenAPI document of a server, with the model's own tensors in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weigh.server import document_texts
from weigh.server.language import About
from weigh.server.tensors import NUMPY

if TYPE_CHECKING:
    from weigh.server.app import App
    from weigh.server.arms import Door
    from weigh.server.tensors import Tensor

LONGEST = 999_999_999
WORD = {"type": "string"}
TEXT = {"type": "string", "maxLength": 256, "pattern": "^[ -~]*$"}
ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
WHOLE = {"type": "integer", "minimum": 0}
INTEGERS = {"INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64, "UINT8": 8, "UINT16": 16, "UINT32": 32, "UINT64": 64}
FLOATS = {"FP16": 65504.0, "FP32": 3.4028234663852886e38, "FP64": 1.7976931348623157e308}
WHY = {
    400: "what was sent cannot be read, or is not what the model takes", 401: "the token is missing or another",
    404: "there is no such model, version or rollout", 408: "the body did not come in time",
    409: "something else is under way, or the model cannot be served", 413: "the body is too large",
    429: "too many requests wait; Retry-After says when to come again", 500: "the model failed",
    503: "the model is not there now", 504: "the deadline passed", 507: "the disk is full",
}  # fmt: skip


def document(app: App) -> dict[str, Any]:
    """OpenAPI 3.1."""
    from importlib.metadata import version

    return {
        "openapi": "3.1.0",
        "info": {"title": f"weigh: {app.settings.name}", "version": version("weigh")},
        "paths": {**_open(app), **_admin()},
        "components": {
            "schemas": _schemas(app),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(name: str, what: str, answer: Any, *errors: int, **more: Any) -> dict[str, Any]:
    kind = "text/plain" if answer is None else "application/json"
    content = {kind: {"schema": {"type": "string"} if answer is None else answer}}
    responses: dict[str, Any] = {"200": {"description": what, "content": content}}
    for status in errors:
        responses[str(status)] = {
            "description": WHY[status], "content": {"application/json": {"schema": _ref("Error")}},
        }  # fmt: skip
    return {"operationId": name, "summary": what, "responses": responses, **more}


def _body(schema: Any) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _header(name: str, schema: dict[str, Any], what: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": what}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _flag(name: str) -> dict[str, Any]:
    return {"type": "object", "required": [name], "properties": {name: {"type": "boolean"}}}


def _open(app: App) -> dict[str, Any]:
    name = app.settings.name
    locked: dict[str, Any] = {"security": [{"token": []}]} if app.settings.private else {}
    errors = (400, 408, 413, 429, 500, 503, 504, *((401,) if app.settings.private else ()))
    headers = [
        _header(app.settings.unit_header, TEXT, "whom the request is for: the same unit always meets the same arm"),
        _header("x-request-id", TEXT, "names the request, for feedback; drawn where nothing names it"),
        _header("x-deadline-ms", {**WHOLE, "minimum": 1, "maximum": LONGEST}, "milliseconds to the deadline"),
    ]  # fmt: skip
    found = {
        "/v2": {"get": _operation("server", "what serves", _ref("Server"))},
        "/v2/health/live": {"get": _operation("live", "whether the server runs", _flag("live"))},
        "/v2/health/ready": {"get": _operation("ready", "whether the model answers", _flag("ready"), 503)},
        f"/v2/models/{name}": {"get": _operation("model", "what goes in and comes out", _ref("Model"))},
        f"/v2/models/{name}/ready": {"get": _operation("model_ready", "whether it answers", _flag("ready"), 503)},
        "/feedback": {
            "post": _operation(
                "feedback", "what came of earlier answers", {"type": "object", "properties": {"kept": WHOLE}},
                400, 408, 413, 507, *errors[7:], **locked,
                **_body({"anyOf": [_ref("Feedback"), _list(_ref("Feedback"))]}),
            )
        },
        "/metrics": {"get": _operation("metrics", "for Prometheus", None)},
        "/openapi.json": {"get": _operation("openapi", "this document", {"type": "object"})},
    }  # fmt: skip
    if app.router.door.kind == "text":
        return found | document_texts.paths(name, headers, app.settings.private)
    asked = _body(_ref("Request"))
    infer = _operation("infer", "an answer", _ref("Answer"), *errors, parameters=headers, **asked, **locked)
    return found | {f"/v2/models/{name}/infer": {"post": infer}}


def _admin() -> dict[str, Any]:
    locked: dict[str, Any] = {"security": [{"token": []}]}
    status: dict[str, Any] = {"type": "object"}
    return {
        "/admin/status": {"get": _operation("status", "who serves", status, 401, **locked)},
        "/admin/rollout": {
            "get": _operation("rollout", "how the last rollout stands", status, 401, 404, **locked),
            "post": _operation(
                "start", "a rollout", _object({"id": WORD}), 400, 401, 408, 409, 413, **locked,
                **_body(_object({"challenger": _ref("Served"), "plan": _ref("Plan")})),
            ),
            "delete": _operation("abort", "the end of a rollout", _object({"aborted": WORD}), 401, 409, **locked),
        },
        "/admin/champion": {
            "put": _operation(
                "swap", "another champion, without a gap", status, 400, 401, 408, 409, 413, **locked,
                **_body(_ref("Served")),
            )
        },
    }  # fmt: skip


def _schemas(app: App) -> dict[str, Any]:
    door = app.router.door
    return {
        "Error": ERROR,
        "Server": _object({"name": WORD, "version": WORD, "extensions": _list(WORD)}),
        "Model": _object(
            {"name": WORD, "versions": _list(WORD), "platform": WORD, "inputs": _list(_ref("Tensor")),
             "outputs": _list(_ref("Tensor"))}
        ),
        "Tensor": _object(
            {"name": {"type": "string"}, "datatype": {"enum": list(NUMPY)}, "shape": _list({"type": "integer"})}
        ),
        **(_tensors(door) if door.about is None else document_texts.schemas(app.settings.name, About.of(door.about))),
        "Feedback": {
            **_object(
                {"id": {"type": "string", "minLength": 1, "maxLength": 256},
                 "values": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}}}
            ),
        },
        "Served": {
            **_object({"path": WORD}), "additionalProperties": False,
            "properties": {"path": WORD, "architecture": WORD},
        },
        "Plan": {
            **_object({"guardrails": {"const": ["error <= baseline + 0.01"]}}), "additionalProperties": False,
            "properties": {"guardrails": {"const": ["error <= baseline + 0.01"]}, "shadow": {"type": "boolean"}},
        },
    }  # fmt: skip


def _tensors(door: Door) -> dict[str, Any]:
    return {
        "Request": _request(door.inputs, [one.name for one in door.outputs]),
        "Answer": _object(
            {"model_name": {"type": "string"}, "model_version": {"type": "string"}, "outputs": {"type": "array"}}
        ),
    }


def _request(inputs: tuple[Tensor, ...], outputs: list[str]) -> dict[str, Any]:
    parts = [_input(one) for one in inputs]
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": _or_null(TEXT),
            "parameters": _or_null({"type": "object", "properties": {"unit": _or_null(TEXT)}}),
            "inputs": {"type": "array", "items": False, "prefixItems": parts, "minItems": len(parts)},
            "outputs": _or_null(_list(_object({"name": {"enum": outputs}}))),
        },
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


def _input(one: Tensor) -> dict[str, Any]:
    """An input of one row; more rows have as many times the numbers."""
    shape = [1 if size == -1 else size for size in one.shape]
    count = 1
    for size in shape:
        count *= size
    data = {"type": "array", "items": _value(one.datatype), "minItems": count, "maxItems": count}
    return _object(
        {"name": {"const": one.name}, "datatype": {"const": one.datatype}, "shape": {"const": shape}, "data": data}
    )


def _value(datatype: str) -> dict[str, Any]:
    if datatype == "BYTES":
        return {"type": "string"}
    if datatype == "BOOL":
        return {"type": "boolean"}
    if datatype in FLOATS:
        return {"type": "number", "minimum": -FLOATS[datatype], "maximum": FLOATS[datatype]}
    bits, signed = INTEGERS[datatype], not datatype.startswith("U")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return {"type": "integer", "minimum": low, "maximum": high}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}

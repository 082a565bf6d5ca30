"""The gateway's own description, in OpenAPI 3.1: every path, what it takes, what it answers, and how it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aichat_cli import __version__
from aichat_cli.core.struct import to_json
from aichat_cli.gateway.deps import deps_of
from aichat_cli.gateway.openapi_schemas import SCHEMAS, ref

Operation = dict[str, Any]

_REFUSALS = {
    400: "The request makes no sense; `param` names the field.",
    401: "No API key, or one that is wrong, revoked or expired.",
    402: "Out of credits, or over the cap of the key.",
    403: "The key is not made for this, or its user is suspended.",
    404: "There is no such thing.",
    408: "The body took too long to arrive.",
    409: "It contradicts what is there: a call under this id was made before; or another user is meant.",
    413: "The body is too large.",
    415: "The body is packed in a way that is not known here.",
    429: "As many calls as the plan allows were made within an hour. Retry-After says when there is room.",
    501: "This gateway does not offer it.",
    502: "The provider failed. Nothing was charged unless something arrived.",
    503: "The provider or the gateway's database does not answer at present. Retry-After says when to try again.",
    504: "The provider took too long.",
    507: "The database is full.",
}
_CALLS = (400, 401, 402, 403, 404, 408, 409, 413, 429, 502, 503, 504)
_OPENAI, _ANTHROPIC = "Error", "AnthropicError"
_REQUEST_ID = {
    "name": "X-Aichat-Request-Id",
    "in": "header",
    "required": False,
    "description": "The id the call is charged under, once; it becomes X-Request-Id.",
    "schema": {"type": "string", "format": "uuid"},
}
_WINDOW = {
    f"X-RateLimit-{name}": {"description": text, "schema": {"type": "integer"}}
    for name, text in (
        ("Limit", "Calls an hour."),
        ("Remaining", "How many are left."),
        ("Reset", "When there is more room, in seconds of Unix time."),
    )
}
_STREAM = {"text/event-stream": {"schema": {"type": "string"}}}


def routes() -> list[BaseRoute]:
    """Its path."""
    return [Route("/openapi.json", openapi, methods=["GET"])]


_USAGE = [
    {"name": name, "in": "query", "schema": {"type": "string", **schema}}
    for name, schema in (
        ("since", {"format": "date"}),
        ("until", {"format": "date"}),
        ("by", {"enum": ["day", "week", "month", "model"]}),
    )
]


async def openapi(request: Request) -> Response:
    """The description."""
    return Response(to_json(document(deps_of(request).options.public_url)), media_type="application/json")


def document(url: str) -> dict[str, Any]:
    """The whole description of a gateway at an address."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aichat gateway",
            "version": __version__,
            "description": "Models over HTTP, in OpenAI's and in Anthropic's protocol, for people with keys and credits.",
        },
        "servers": [{"url": url}],
        "security": [{"bearer": []}, {"header": []}],
        "paths": {**_models(), **_account(), **_sync(), **_machines()},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _models() -> dict[str, Any]:
    chat = _call("Ask a model, in OpenAI's protocol", "ChatRequest", "ChatAnswer", _OPENAI, **_STREAM)
    messages = _call("Ask a model, in Anthropic's protocol", "MessagesRequest", "MessagesAnswer", _ANTHROPIC, **_STREAM)
    return {
        "/v1/chat/completions": {"post": chat},
        "/v1/messages": {"post": messages},
        "/v1/embeddings": {"post": _call("Make vectors of texts", "EmbeddingRequest", "EmbeddingAnswer", _OPENAI)},
        "/v1/models": {"get": _operation("List the models that are served", {200: "Models"}, (401, 403, 503))},
        "/v1/models/{name}": {
            "get": _operation("Describe a model", {200: "Model"}, (401, 403, 404, 503), _named("name"))
        },
    }


def _account() -> dict[str, Any]:
    purchase = {200: "Purchase", 201: "Purchase"}
    refusals = (400, 401, 403, 404, 408, 409, 413, 501, 502, 503, 504)
    begin = _operation("Buy credits", purchase, refusals, body="PurchaseRequest")
    session = {"name": "session_id", "in": "query", "required": False, "schema": {"type": "string"}}
    return {
        "/v1/account": {"get": _operation("Tell whose the key is", {200: "Account"}, (401, 403, 503))},
        "/v1/credits": {"get": _operation("Tell the balance", {200: "Credits"}, (401, 403, 503))},
        "/v1/usage": {"get": _operation("Sum up what was used", {200: "Usage"}, (400, 401, 403, 503), *_USAGE)},
        "/v1/credits/purchase": {"post": begin},
        "/v1/credits/purchase/{purchase_id}": {
            "get": _operation("Tell how a purchase stands", {200: "Purchase"}, refusals, _named("purchase_id"))
        },
        "/v1/stripe/webhook": {
            "post": _open(
                _operation("Take in an event of Stripe's", {200: "Object"}, (400, 408, 413, 500, 503), body="Object")
            )
        },
        "/purchase/success": {"get": _page("Thank a buyer", session)},
        "/purchase/cancelled": {"get": _page("Comfort a buyer")},
    }


def _sync() -> dict[str, Any]:
    refusals = (400, 401, 403, 404, 408, 409, 413, 415, 429, 501, 502, 503, 507)
    names = {
        "pull": "Read changes of other devices",
        "push": "Write changes of this device",
        "stage": "Write passages of a document before it is pushed",
        "chunks": "Read passages of a document",
        "missing-files": "Tell which files are not there",
        "devices": "List devices",
        "forget": "Forget a device",
    }
    paths: dict[str, Any] = {
        f"/v1/sync/{name}": {"post": _operation(summary, {200: "Any"}, refusals, body="Object")}
        for name, summary in names.items()
    }
    binary = {"application/octet-stream": {"schema": {"type": "string"}}}
    read = _operation("Read a file", {}, refusals, _named("sha256"))
    read["responses"]["200"] = {"description": "The file.", "content": binary}
    write = _operation("Write a file", {}, refusals, _named("sha256"))
    write["requestBody"] = {"required": True, "content": binary}
    write["responses"]["204"] = {"description": "It is there."}
    paths["/v1/sync/files/{sha256}"] = {"get": read, "put": write}
    return paths


def _machines() -> dict[str, Any]:
    text = {
        "200": {"description": "In Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    }
    metrics = _operation("Tell what was counted", {}, (401, 403))
    metrics["responses"] |= text
    ready = _operation("Tell whether calls can be served", {200: "State"}, ())
    ready["responses"]["503"] = _answer("They cannot.", "State")
    return {
        "/healthz": {"get": _open(_operation("Tell that the process lives", {200: "State"}, ()))},
        "/readyz": {"get": _open(ready)},
        "/metrics": {"get": _open(metrics)},
        "/openapi.json": {"get": _open(_operation("Describe all this", {200: "Object"}, ()))},
    }


def _call(summary: str, asked: str, answered: str, error: str, **more: Any) -> Operation:
    """A request that costs something."""
    operation = _operation(summary, {200: answered}, _CALLS, _REQUEST_ID, body=asked, error=error)
    for status in ("200", "429"):
        operation["responses"][status]["headers"] = _WINDOW
    operation["responses"]["200"]["content"] |= more
    return operation


def _operation(
    summary: str,
    answers: Mapping[int, str],
    refusals: Iterable[int],
    *parameters: Mapping[str, Any],
    body: str | None = None,
    error: str = _OPENAI,
) -> Operation:
    told: Operation = {"summary": summary, "parameters": list(parameters), "responses": {}}
    if body is not None:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref(body)}}}
    for status, name in answers.items():
        told["responses"][str(status)] = _answer("Done.", name)
    for status in refusals:
        told["responses"][str(status)] = _answer(_REFUSALS.get(status, "The gateway failed."), error)
    return told


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": ref(schema)}}}


def _open(operation: Operation) -> Operation:
    """One that takes no key."""
    return {**operation, "security": []}


def _page(summary: str, *parameters: Mapping[str, Any]) -> Operation:
    page = {"text/html": {"schema": {"type": "string"}}}
    told = _open(_operation(summary, {}, (), *parameters))
    told["responses"] = {"200": {"description": "A page.", "content": page}}
    if parameters:
        told["responses"]["404"] = {"description": "A page: there is no such purchase.", "content": page}
    return told


def _named(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}

"""Answers of the gateway itself, as JSON."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from aichat_cli.core.struct import to_json


def answer(value: Any, status: int = 200) -> Response:
    """A JSON response that nobody keeps."""
    return Response(to_json(value), status, {"Cache-Control": "no-store"}, media_type="application/json")

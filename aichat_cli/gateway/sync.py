"""Sync of a caller's devices: one path for each call of `sync.protocol.Transport`, done in the database as the caller.

Each is done or not at all, and may be repeated. A device says with `X-Aichat-User` whose account it syncs with, so that a key
of somebody else's never mixes two people's conversations.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aichat_cli.core.accounts import Caller
from aichat_cli.core.errors import AichatError, HostedError, HostedFull
from aichat_cli.core.struct import to_json
from aichat_cli.gateway.auth import caller_of
from aichat_cli.gateway.errors import BadRequest
from aichat_cli.gateway.sync_bodies import MOST_FILE, MOST_JSON, WORTH_PACKING, packed, read_sync_body
from aichat_cli.gateway.sync_desk import sync_desk_of
from aichat_cli.gateway.sync_fields import Fields, changes_of, chunks_of, fields_of, is_sha256
from aichat_cli.hosted import sync_calls
from aichat_cli.hosted.connection import Connection
from aichat_cli.hosted.failures import Refused
from aichat_cli.hosted.pool import ConnectionPool
from aichat_cli.hosted.sync_calls import HostedUser

MOST_ROWS = 5_000
MOST_PAGE_BYTES = 32_000_000
MOST_HASHES = 10_000

Question = Callable[[Connection], Any]
"""What is asked of the database; the answer is JSON."""


def routes() -> list[BaseRoute]:
    """Its paths."""
    calls = {
        "pull": _pull,
        "push": _push,
        "stage": _stage,
        "chunks": _chunks,
        "missing-files": _missing_files,
        "devices": _devices,
        "forget": _forget,
    }
    return [
        *(Route(f"/v1/sync/{name}", _endpoint(of), methods=["POST"], name=name) for name, of in calls.items()),
        Route("/v1/sync/files/{sha256}", _put_file, methods=["PUT"]),
        Route("/v1/sync/files/{sha256}", _get_file, methods=["GET"]),
    ]


def _endpoint(question_of: Callable[[str, Fields], Question]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        caller = await _caller_of(request)
        desk = sync_desk_of(request)
        may_pack = "gzip" in request.headers.get("accept-encoding", "")
        with desk.place(caller.user_id) as room:
            body = await read_sync_body(request, room, MOST_JSON)

            def work(pool: ConnectionPool) -> Response:
                question = question_of(caller.user_id, fields_of(body))
                return _json_answer(_asked(pool, question), may_pack=may_pack)

            return await desk.run(work)

    return endpoint


async def _put_file(request: Request) -> Response:
    caller = await _caller_of(request)
    name = _hash_of(request)
    desk = sync_desk_of(request)
    with desk.place(caller.user_id) as room:
        content = await read_sync_body(request, room, MOST_FILE)

        def work(pool: ConnectionPool) -> Response:
            if sha256(content).hexdigest() != name:
                raise BadRequest("This is not the content of that hash.", code="sync_hash")
            user = HostedUser(caller.user_id, "")
            _asked(pool, lambda connection: sync_calls.put_file(connection, user, name, content))
            return Response(status_code=204)

        return await desk.run(work)


async def _get_file(request: Request) -> Response:
    caller = await _caller_of(request)
    name = _hash_of(request)
    desk = sync_desk_of(request)
    with desk.place(caller.user_id):

        def work(pool: ConnectionPool) -> Response:
            user = HostedUser(caller.user_id, "")
            content = _asked(pool, lambda connection: sync_calls.file(connection, user, name))
            if content is None:
                raise BadRequest("There is no such file.", status=404, code="sync_no_file")
            return Response(content, headers={"Cache-Control": "no-store"}, media_type="application/octet-stream")

        return await desk.run(work)


async def _caller_of(request: Request) -> Caller:
    """Whose key it is, who has to be who the device takes them for."""
    caller = await caller_of(request, "sync")
    meant = request.headers.get("x-aichat-user", "")
    if meant and meant != caller.user_id:
        raise BadRequest(
            f"This device syncs with another account than {caller.user_name}'s.", status=409, code="sync_other_user"
        )
    return caller


def _hash_of(request: Request) -> str:
    name = str(request.path_params["sha256"])
    if not is_sha256(name):
        raise BadRequest("A file is named by its SHA-256 in lower case.", code="sync_hash")
    return name


def _pull(user_id: str, fields: Fields) -> Question:
    user, device = HostedUser(user_id, fields.text("device_name")), fields.uuid("device")
    after, horizon = fields.number("after"), fields.number("horizon", -1)
    most, most_bytes = _size(fields)
    return lambda connection: sync_calls.pull(connection, user, device, after, most, most_bytes, horizon)


def _push(user_id: str, fields: Fields) -> Question:
    user, device = HostedUser(user_id, fields.text("device_name")), fields.uuid("device")
    seen, changes = fields.number("seen"), changes_of(fields)
    return lambda connection: sync_calls.push(connection, user, device, seen, changes)


def _stage(user_id: str, fields: Fields) -> Question:
    user, document = HostedUser(user_id, ""), fields.uuid("document")
    version, chunks = fields.text("version"), chunks_of(fields)
    return lambda connection: sync_calls.stage_chunks(connection, user, document, version, chunks)


def _chunks(user_id: str, fields: Fields) -> Question:
    user, document = HostedUser(user_id, ""), fields.uuid("document")
    stamp, after = fields.text("stamp"), fields.number("after", -1, 2**31 - 1)
    most, most_bytes = _size(fields)
    return lambda connection: sync_calls.chunks(connection, user, document, stamp, after, most, most_bytes)


def _missing_files(user_id: str, fields: Fields) -> Question:
    user, hashes = HostedUser(user_id, ""), fields.hashes("hashes", MOST_HASHES)
    return lambda connection: sync_calls.missing_files(connection, user, hashes)


def _devices(user_id: str, _: Fields) -> Question:
    return lambda connection: sync_calls.devices(connection, HostedUser(user_id, ""))


def _forget(user_id: str, fields: Fields) -> Question:
    user, device = HostedUser(user_id, ""), fields.uuid("device")
    return lambda connection: sync_calls.forget(connection, user, device)


def _size(fields: Fields) -> tuple[int, int]:
    """How much of a page is asked for, within what may be."""
    return min(fields.number("most", 1), MOST_ROWS), min(fields.number("most_bytes", 1), MOST_PAGE_BYTES)


def _asked(pool: ConnectionPool, question: Question) -> Any:
    try:
        return pool.ask(question)
    except HostedError as exc:
        raise _told(exc) from exc


def _told(error: HostedError) -> AichatError:
    """What the database refuses of what a device sent is the device's; everything else is the gateway's."""
    if isinstance(error, HostedFull):
        return BadRequest("No space is left in the gateway's database.", status=507, code="hosted_full")
    if isinstance(error, Refused):
        status = 409 if error.state == "AI409" else 400
        return BadRequest(f"The database does not take this: {error.said}.", status=status, code="sync_refused")
    return error


def _json_answer(value: Any, *, may_pack: bool) -> Response:
    content, headers = to_json(value), {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if may_pack and len(content) > WORTH_PACKING:
        content, headers["Content-Encoding"] = packed(content), "gzip"
    return Response(content, headers=headers, media_type="application/json")

"""The functions of schema.sql that sync is made of, called for one user through a connection of the owner's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aichat_cli.core.errors import HostedSchema
from aichat_cli.core.struct import Struct, from_json, to_json
from aichat_cli.core.sync import SCHEMA_VERSION
from aichat_cli.hosted.connection import Connection, json_text

# Postgres has no text with a NUL in it. Where there is one, or the mark that stands for it, both are written with the mark.
_MARK = "\ue000"
_ESCAPES = {_MARK: _MARK + "1", "\x00": _MARK + "0"}


class HostedUser(Struct, frozen=True):
    """Whose rows, and which device asks for them."""

    user_id: str
    device_name: str


def personal_user(connection: Connection) -> str:
    """The user of a database that belongs to one person, made where there is none.

    Raises:
        HostedSchema: there is no schema, or one of another version.
    """
    require_schema(connection)
    return str(connection.value("SELECT aichat.personal_user()"))


def schema_version(connection: Connection) -> int | None:
    """The version of the schema there, None where there is none."""
    if connection.value("SELECT to_regclass('aichat.schema_versions') IS NULL"):
        return None
    return int(connection.value("SELECT coalesce(max(version), 0) FROM aichat.schema_versions"))


def require_schema(connection: Connection) -> None:
    """Refuse a schema that is not the one this program speaks with."""
    version = schema_version(connection)
    place = connection.place.name
    if version is None:
        raise HostedSchema(f"The database {place} is not set up for aichat.", hint="Run: aichat sync init")
    if version > SCHEMA_VERSION:
        raise HostedSchema(
            f"The database {place} has schema version {version}, this aichat knows up to {SCHEMA_VERSION}.",
            hint="Run: pip install --upgrade aichat-terminal",
        )
    if version < SCHEMA_VERSION:
        raise HostedSchema(
            f"The database {place} has schema version {version}, this aichat needs {SCHEMA_VERSION}.",
            hint="Bring it forward: aichat sync init",
        )


def pull(
    connection: Connection, user: HostedUser, device: str, after: int, most: int, most_bytes: int, horizon: int
) -> dict[str, Any]:
    """`aichat.sync_pull`, and the version of the schema with it: one round trip."""
    [(text, version)] = connection.rows(
        "SELECT aichat.sync_pull(%s, %s, %s, %s, %s, %s, %s)::text, (SELECT max(version) FROM aichat.schema_versions)",
        (user.user_id, device, user.device_name, after, most, most_bytes, horizon),
    )
    if version != SCHEMA_VERSION:
        require_schema(connection)
    return dict(_read(text))


def push(
    connection: Connection, user: HostedUser, device: str, seen: int, changes: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """`aichat.sync_push`."""
    answer = connection.value(
        "SELECT aichat.sync_push(%s, %s, %s, %s, %s)",
        (user.user_id, device, user.device_name, seen, json_text(_written(changes))),
    )
    return dict(answer)


def stage_chunks(
    connection: Connection, user: HostedUser, document_id: str, version: str, chunks: Sequence[dict[str, Any]]
) -> None:
    """`aichat.sync_stage_chunks`."""
    connection.rows(
        "SELECT aichat.sync_stage_chunks(%s, %s, %s, %s)",
        (user.user_id, document_id, version, json_text(_written(chunks))),
    )


def chunks(
    connection: Connection, user: HostedUser, document_id: str, stamp: str, after: int, most: int, most_bytes: int
) -> list[dict[str, Any]]:
    """`aichat.sync_chunks`."""
    found = connection.value(
        "SELECT aichat.sync_chunks(%s, %s, %s, %s, %s, %s)::text",
        (user.user_id, document_id, stamp, after, most, most_bytes),
    )
    return list(_read(found))


def missing_files(connection: Connection, user: HostedUser, hashes: Sequence[str]) -> list[str]:
    """`aichat.sync_missing_blobs`."""
    return list(connection.value("SELECT aichat.sync_missing_blobs(%s, %s)", (user.user_id, list(hashes))))


def put_file(connection: Connection, user: HostedUser, sha256: str, content: bytes) -> None:
    """`aichat.sync_put_blob`."""
    connection.rows("SELECT aichat.sync_put_blob(%s, %s, %s)", (user.user_id, sha256, content))


def file(connection: Connection, user: HostedUser, sha256: str) -> bytes | None:
    """`aichat.sync_blob`."""
    found = connection.value("SELECT aichat.sync_blob(%s, %s)", (user.user_id, sha256))
    return None if found is None else bytes(found)


def devices(connection: Connection, user: HostedUser) -> list[dict[str, Any]]:
    """`aichat.sync_devices`."""
    return list(connection.value("SELECT aichat.sync_devices(%s)", (user.user_id,)))


def forget(connection: Connection, user: HostedUser, device: str) -> None:
    """`aichat.sync_forget`."""
    connection.rows("SELECT aichat.sync_forget(%s, %s)", (user.user_id, device))


def _written(values: Sequence[Any]) -> str:
    text = to_json(values).decode()
    if _MARK in text or "\\u0000" in text:
        text = to_json(escaped(list(values))).decode()
    return text


def _read(text: str) -> Any:
    value = from_json(text)
    return unescaped(value) if _MARK in text else value


def escaped(value: Any) -> Any:
    """JSON without the character Postgres cannot keep."""
    return _mapped(value, _escape)


def unescaped(value: Any) -> Any:
    """What `escaped` was given."""
    return _mapped(value, _unescape)


def _mapped(value: Any, of_text: Any) -> Any:
    if isinstance(value, str):
        return of_text(value)
    if isinstance(value, dict):
        return {name: _mapped(each, of_text) for name, each in value.items()}
    if isinstance(value, list):
        return [_mapped(each, of_text) for each in value]
    return value


def _escape(text: str) -> str:
    if _MARK not in text and "\x00" not in text:
        return text
    return "".join(_ESCAPES.get(character, character) for character in text)


def _unescape(text: str) -> str:
    if _MARK not in text:
        return text
    return text.replace(_ESCAPES["\x00"], "\x00").replace(_ESCAPES[_MARK], _MARK)

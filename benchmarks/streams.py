"""A provider that streams as fast as it can, and clients that ask it, or a gateway in front of it, for many streams at once.

python -m benchmarks.streams serve                         prints its port, and answers until it is ended
python -m benchmarks.streams load URL KEY STREAMS AT_ONCE  prints what it measured, as JSON
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

DELTAS = 50
MODEL = "gpt-4o-mini"
_END = b"\r\n0\r\n\r\n"
_WARM = 8


@dataclass(frozen=True, slots=True)
class Load:
    """So many streams at once, until all are done: seconds, and milliseconds to the first delta."""

    streams: int
    at_once: int
    seconds: float
    first_p50_ms: float
    first_p99_ms: float
    failures: int

    @property
    def per_second(self) -> float:
        """Streams that were completed in a second."""
        return (self.streams - self.failures) / self.seconds


def _event(choices: list[object], **more: object) -> bytes:
    data = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices}
    line = b"data: " + json.dumps(data | more).encode() + b"\n\n"
    return f"{len(line):x}\r\n".encode() + line + b"\r\n"


_USAGE = {"prompt_tokens": 12, "completion_tokens": DELTAS, "total_tokens": 12 + DELTAS}
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_PIECES = [
    _HEAD + _event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]),
    *[_event([{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]) for _ in range(DELTAS)],
    _event([{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    _event([], usage=_USAGE),
    b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
]
"""Each is sent by itself, as models do, without waiting in between."""


async def _provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            await reader.readexactly(length)
            for piece in _PIECES:
                writer.write(piece)
                await asyncio.sleep(0)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve() -> None:
    """Answer until the process ends."""
    server = await asyncio.start_server(_provide, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def load(url: str, key: str, streams: int, at_once: int) -> Load:
    """Ask for streams, so many at once."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    body = json.dumps(
        {
            "model": MODEL,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "Say a word fifty times."}],
        }
    )
    request = (
        f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    ).encode()
    left = streams
    first: list[float] = []
    failures = 0

    async def client(host: str, port: int) -> None:
        nonlocal left, failures
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        while left > 0:
            left -= 1
            began = time.perf_counter()
            writer.write(request)
            answer = bytearray()
            to_first = 0.0
            while not answer.endswith(_END):
                chunk = await reader.read(1 << 18)
                answer += chunk
                if not to_first and b'"word ' in answer:
                    to_first = time.perf_counter() - began
                if not chunk or (b"\r\n\r\n" in answer and not answer.startswith(b"HTTP/1.1 200")):
                    break
            if answer.count(b'"word ') == DELTAS and b"[DONE]" in answer:
                first.append(to_first)
            else:
                failures += 1
                writer.close()
                reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(parts.hostname, parts.port) for _ in range(at_once)))
    seconds = time.perf_counter() - began
    first.sort()
    middle = first[len(first) // 2] if first else float("nan")
    late = first[len(first) * 99 // 100] if first else float("nan")
    return Load(streams, at_once, seconds, middle * 1000, late * 1000, failures)


async def _measured(url: str, key: str, streams: int, at_once: int) -> Load:
    await load(url, key, _WARM * at_once, at_once)
    return await load(url, key, streams, at_once)


def main() -> None:
    """Either half, as a process of its own."""
    import uvloop

    if sys.argv[1] == "serve":
        uvloop.run(serve())
    else:
        url, key, streams, at_once = sys.argv[2:]
        print(json.dumps(asdict(uvloop.run(_measured(url, key, int(streams), int(at_once))))))


if __name__ == "__main__":
    main()

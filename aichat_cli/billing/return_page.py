"""The page on this machine that a browser comes back to from Stripe: it tells the one who waits, and decides nothing.

It listens on 127.0.0.1 alone, at a path that cannot be guessed, while a purchase is waited for.
"""

from __future__ import annotations

import hmac
import secrets
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from aichat_cli.billing.pages import CANCELLED, HEADERS, THANKS, Page
from aichat_cli.core.errors import AichatError
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread

HOST = "127.0.0.1"
REQUEST_SECONDS = 5

Visit = Literal["success", "cancel"]

_PAGES: dict[str, tuple[Visit, Page]] = {"success": ("success", THANKS), "cancelled": ("cancel", CANCELLED)}


class ReturnPage:
    """Serves the page from a thread until it is closed.

    Args:
        port: 0 for any free one.
        bell: set whenever somebody came back.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, token: str, port: int, bell: threading.Event) -> None:
        self.visit: Visit | None = None
        self._token = token
        self._bell = bell
        self._server = _Server((HOST, port), _handler_for(self))
        self._thread = threading.Thread(target=self._serve, name="return page", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, bell: threading.Event) -> ReturnPage:
        """A page at a new address.

        Raises:
            AichatError: this machine lets nobody listen.
        """
        try:
            return cls(secrets.token_urlsafe(24), 0, bell)
        except OSError as exc:
            raise AichatError(f"Cannot listen on {HOST} for the browser to come back: {exc.strerror}.") from exc

    @classmethod
    def again(cls, url: str, bell: threading.Event) -> ReturnPage | None:
        """The page at an address it had before, None where another program, or another of ours, listens there now."""
        parts = urlsplit(url)
        try:
            return cls(parts.path.strip("/"), parts.port or 0, bell)
        except OSError:
            return None

    @property
    def url(self) -> str:
        """Where it is; `/success` and `/cancelled` follow."""
        return f"http://{HOST}:{self._server.server_address[1]}/{self._token}"

    def visit_of(self, path: str) -> tuple[Visit, Page] | None:
        """How somebody comes back who asks for a path, and the page for them; None where there is none at it."""
        _, _, rest = path.partition("?")[0].partition("/")
        token, _, name = rest.partition("/")
        if name not in _PAGES or not hmac.compare_digest(token.encode(), self._token.encode()):
            return None
        return _PAGES[name]

    def tell(self, visit: Visit) -> None:
        """Somebody has been shown the page."""
        self.visit = visit
        self._bell.set()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        leave_signals_to_the_main_thread()
        self._server.serve_forever(poll_interval=0.05)


class _Server(socketserver.ThreadingTCPServer):
    """Not `http.server`'s, which looks this machine up in the DNS before it listens."""

    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle is nothing to tell."""


def _handler_for(page: ReturnPage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS

        def do_GET(self) -> None:
            came_back = page.visit_of(self.path)
            shown = (came_back[1].html if came_back else "There is nothing here.\n").encode()
            self.send_response(200 if came_back else 404)
            for name, value in (HEADERS if came_back else {"Content-Type": "text/plain"}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(shown)))
            self.end_headers()
            self.wfile.write(shown)
            self.wfile.flush()
            if came_back:
                page.tell(came_back[0])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
            """Nothing is logged: a path holds what must not be guessed."""

    return Handler

"""A gateway in a thread of this process, on loopback, in front of a scripted provider.

with RunningGateway(folder, server) as gateway:
    key = gateway.key("anna", plan="pro")
    openai.OpenAI(base_url=gateway.openai_url, api_key=key)
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from aichat_cli.accounts import keys
from aichat_cli.accounts.protocol import AccountStore, NewKey
from aichat_cli.accounts.sqlite import SqliteAccounts
from aichat_cli.app import App
from aichat_cli.core.accounts import SCOPES, Scope, User
from aichat_cli.core.credits import PlanName
from aichat_cli.core.struct import replace
from aichat_cli.gateway.deps import GatewayDeps, ServerOptions
from aichat_cli.gateway.desk import Desk
from aichat_cli.gateway.server import Listening, bound, made
from aichat_cli.gateway.watch import Watch
from tests import blank
from tests.servers.scripted import ScriptedServer

PROVIDER_KEY = "sk-provider-5d1f7a2c9e8b"


class RunningGateway:
    """`server` stands for OpenAI and Anthropic. While it runs, the environment of this process is the operator's."""

    def __init__(
        self,
        folder: Path,
        server: ScriptedServer,
        *,
        store: AccountStore | None = None,
        options: ServerOptions | None = None,
        environ: dict[str, str] | None = None,
        listening: Listening | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.server = server
        self.store = store or SqliteAccounts(blank.put(folder / "gateway.db"))
        self._folder = folder
        self._options = options or ServerOptions()
        self._environ = environ or {}
        self._listening = replace(listening or Listening(), port=0)
        self._watch = watch or Watch()
        self._patch = pytest.MonkeyPatch()
        self.deps: GatewayDeps
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def database(self) -> Path:
        """The file of accounts, where it is one."""
        return self._folder / "gateway.db"

    def user(self, name: str, *, plan: PlanName = "free", credits_: int = 0, email: str | None = None) -> User:
        """A new user with 100 credits and so many more."""
        users = self.store.users()
        try:
            made = users.create_user(name, email=email, plan=plan, actor="test")
            if credits_:
                users.grant(made.id, credits_, ref=f"test:{name}", actor="test")
            return users.user(name)
        finally:
            users.close()

    def user_id(self, name: str) -> str:
        """The id of a user who is there."""
        users = self.store.users()
        try:
            return users.user(name).id
        finally:
            users.close()

    def key(
        self,
        name: str,
        *,
        plan: PlanName = "enterprise",
        credits_: int = 0,
        email: str | None = None,
        scopes: tuple[Scope, ...] = SCOPES,
        **limits: Any,
    ) -> str:
        """A key of that user, who is made where there is none; `limits` are those of `NewKey`."""
        users = self.store.users()
        try:
            known = {each.name: each for each in users.users(limit=None)}
            user = known.get(name) or self.user(name, plan=plan, credits_=credits_, email=email)
            fresh = keys.new_key()
            users.create_key(NewKey(user.id, "test", fresh.prefix, fresh.key_hash, scopes, **limits), actor="test")
            return fresh.secret.reveal()
        finally:
            users.close()

    def __enter__(self) -> Self:
        home = self._folder / "operator"
        home.mkdir(exist_ok=True)
        for name, value in {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_STATE_HOME": str(home / "state"),
            "OPENAI_API_KEY": PROVIDER_KEY,
            "OPENAI_BASE_URL": self.server.openai_url,
            "ANTHROPIC_API_KEY": PROVIDER_KEY,
            "ANTHROPIC_BASE_URL": self.server.anthropic_url,
            **self._environ,
        }.items():
            self._patch.setenv(name, value)
        self.deps = GatewayDeps(App(), self.store, Desk(self.store), self._options, self._watch)
        listener = bound(self._listening)
        self.port = listener.getsockname()[1]
        self._uvicorn = made(self.deps, self._listening)
        self._thread = threading.Thread(target=self._uvicorn.run, args=([listener],), name="gateway", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._uvicorn.started:
            assert self._thread.is_alive(), "the gateway did not start"
            assert time.monotonic() < deadline, "the gateway did not start in time"
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "the gateway did not end"
        self.deps.house.close()
        self._patch.undo()

"""From nothing to a team that chats: the operator's commands, a user's, two devices, and money, on Postgres."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.postgres import Cluster
from tests.servers.scripted import ScriptedServer
from tests.servers.serving import serving
from tests.servers.stripe_double import StripeDouble, until

WEBHOOK_SECRET = "whsec_test_3f1b9a7c5d2e"
EXPENSIVE = {"text": "A long answer.", "usage": {"input": 1_000_000, "output": 1_000_000}}
"""To gpt-4o-mini 75 cents."""


def home(folder: Path, **environ: str) -> Cli:
    folder.mkdir()
    return Cli(folder, None, dict(environ))


@pytest.fixture
def operator(tmp_path: Path, server: ScriptedServer, stripe: StripeDouble) -> Cli:
    machine = home(
        tmp_path / "operator",
        STRIPE_API_KEY=stripe.key,
        AICHAT_STRIPE_API_BASE=stripe.url,
        STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET,
    )
    machine.server = server
    return machine


def told(cli: Cli, *arguments: str, stdin: str | None = None, code: int = 0) -> tuple[str, str]:
    """What a command says on stdout and stderr."""
    done = cli.run(*arguments, stdin=stdin)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout.decode(), done.stderr.decode()


def test_from_an_empty_database_to_a_team_that_chats_pays_and_syncs(
    tmp_path: Path, operator: Cli, server: ScriptedServer, stripe: StripeDouble, postgres18: Cluster
) -> None:
    with postgres18.database() as dsn:
        operator.environ["AICHAT_SERVER_DATABASE"] = dsn
        told(operator, "users", "create", "ada", "--plan", "pro")
        key, _ = told(operator, "api-keys", "create", "ada")
        with serving(operator) as gateway:
            url = gateway.url
            laptop, desktop = home(tmp_path / "laptop"), home(tmp_path / "desktop")
            _, said = told(laptop, "login", url, stdin=key)
            assert "ada" in said
            assert "100 credits" in said

            # She chats in the REPL.
            with terminal(laptop, rows=30) as screen:
                screen.wait_for("gateway/gpt-4o-mini | ")
                screen.type("hello there\r")
                screen.wait_for("You said: hello there")
                screen.wait_for("credits 99")
                screen.type("\x04")
                assert screen.wait_for_exit() == 0
            assert server.requests[-1].headers["authorization"] == f"Bearer {operator.environment['OPENAI_API_KEY']}"

            # She runs out, and is told what to do.
            server.script = EXPENSIVE
            told(laptop, "-c", "tell me everything")
            _, said = told(laptop, "-c", "-o", "max_tokens", "1000000", "and once more", code=4)
            assert "aichat credits buy" in said

            # She buys credits; Stripe tells the gateway.
            assert bought(laptop, stripe) == "100 credits added. Balance: 124.\n"
            payload, signature = signed(stripe)
            for _ in range(2):  # once more changes nothing
                answer = httpx.post(
                    f"{url}/v1/stripe/webhook",
                    content=payload,
                    headers={"Stripe-Signature": signature},
                    trust_env=False,
                )
                assert answer.status_code == 200
            assert laptop.json("credits")["balance"] == 124

            # She chats on, and syncs to a second device.
            server.script = {"text": "Gladly.", "usage": {"input": 10, "output": 5}}
            told(laptop, "-c", "and now?")
            told(laptop, "sync", "init", "--yes")
            told(desktop, "login", url, "--sync", stdin=key)
            [talk] = desktop.json("history", "list")
            messages = desktop.json("history", "show", talk["id"])["messages"]
            assert [each["content"] for each in messages][-1] == "Gladly."
            told(desktop, "-c", "from the other device")
            told(desktop, "sync", "now")
            told(laptop, "sync", "now")
            assert laptop.json("history", "list")[0]["messages"] == desktop.json("history", "list")[0]["messages"]
            assert laptop.json("usage")["total"] == desktop.json("usage")["total"]

            # The operator sees what was done, and can end it at once.
            assert [each["action"] for each in operator.json("users", "audit", "ada")] == [
                "credits.purchased",
                "key.created",
                "user.created",
            ]
            [listed] = operator.json("api-keys", "list", "ada")
            told(operator, "api-keys", "revoke", listed["prefix"])
            _, said = told(laptop, "hello?", code=3)
            assert "revoked" in said
            assert gateway.end(signal.SIGTERM) == 0
        # Nothing is held, and no key is in the database.
        assert_in_order(dsn, key.strip())


def bought(cli: Cli, stripe: StripeDouble) -> str:
    """A package is bought and paid; what is said in the end."""
    with cli.start("credits", "buy", "small", "--no-browser") as buying:
        until(lambda: bool(stripe.sessions))
        stripe.pay(stripe.last_session["id"])
        out, err = buying.communicate(timeout=40)
    assert buying.returncode == 0, err
    return bytes(out).decode()


def signed(stripe: StripeDouble) -> tuple[bytes, str]:
    """The event of the last payment as Stripe sends it."""
    event, header = stripe.event("checkout.session.completed", stripe.last_session, secret=WEBHOOK_SECRET)
    return event, header


def assert_in_order(dsn: str, key: str) -> None:
    import psycopg

    with psycopg.connect(dsn) as connection:
        [held] = connection.execute("select count(*) from public.credit_holds").fetchone() or [None]
        assert held == 0
        rows = connection.execute(
            "select p.balance_nano, (select sum(amount_nano) from public.credit_ledger l where l.user_id = p.id)"
            " from public.profiles p where p.name is not null"
        ).fetchall()
        assert rows
        assert all(balance == entered for balance, entered in rows)
        tables = connection.execute(
            "select schemaname || '.' || tablename from pg_tables where schemaname in ('public', 'aichat', 'auth')"
        ).fetchall()
        for (table,) in tables:
            content = connection.execute(f"select coalesce(string_agg(t::text, ''), '') from {table} t").fetchone()
            assert content is not None
            assert key not in content[0]
            assert key[16:] not in content[0]

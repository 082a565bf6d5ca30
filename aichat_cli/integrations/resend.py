"""Mail about money through Resend: POST /emails, one request each.

A mail is sent once: its id is kept in the database, and goes to Resend as the key by which two devices, or two tries of which one
was not answered, are one for 24 hours. A mail is kept without its sender and recipients, which are those that are set when it goes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from aichat_cli.chat.observing import FinishedTurn
from aichat_cli.core.errors import (
    AichatError,
    BadResponse,
    CapReached,
    ConfigError,
    KeyRejected,
    ProviderUnavailable,
    RequestRejected,
)
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct, from_json, to_json
from aichat_cli.integrations.alerts import Watch
from aichat_cli.integrations.client import Answer, ServiceClient
from aichat_cli.integrations.mails import Mail, mail_of
from aichat_cli.integrations.observer import TIMEOUTS, Delivery, Observer, Surroundings
from aichat_cli.providers.failures import said_in

KEY_NAME = "resend"
MOST_RECIPIENTS = 50
_TEST_DOMAIN = "resend.dev"
"""Resend's own, which sends to the owner of the account alone."""

_ADDRESS = r"[^\s<>()\[\],;:@\"\\]+@[^\s<>()\[\],;:@\"\\.]+(?:\.[^\s<>()\[\],;:@\"\\.]+)+"
_MAILBOX = re.compile(rf"(?:{_ADDRESS}|[^<>,\r\n]*<{_ADDRESS}>)")


def observer(surroundings: Surroundings) -> Observer:
    """Resend, as it is set."""
    return Resend(surroundings)


class Resend(Observer):
    """Sends mail about what was spent."""

    batch_size = 1
    keeps_ids = True
    hears_refusals = True

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._url = surroundings.settings.text("resend.url").rstrip("/")
        self._watch = Watch(surroundings.name, surroundings.find_profile())
        self._client: ServiceClient | None = None
        self._headers: dict[str, str] = {}

    def deliveries(self, turn: FinishedTurn) -> Sequence[Delivery]:
        """The mails that are due; none where nobody can keep their ids."""
        books = turn.books
        if books is None or not books.is_persistent or books.is_read_only:
            return []
        limits = turn.limits.of_provider(turn.provider)
        found = []
        for due in self._watch.due(books, limits, is_refused=turn.error == CapReached.code):
            found.append(Delivery(due.id, _payload(mail_of(due.news))))
        return found

    def warm(self) -> None:
        """Find the key, the sender and the recipients, and open the connection."""
        self._post()
        self._opened().warm()

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Send mails; what Resend has sent already under the same id is sent."""
        post = self._post()
        for each in deliveries:
            self._send(each, post)

    def send(self, id_: str, recipient: str, mail: Mail) -> None:
        """Send a mail to somebody else than is set, once for each id; raises as `deliver` does."""
        self._send(Delivery(id_, _payload(mail)), _Post.of(self._surroundings.settings.text("resend.from"), recipient))

    def _send(self, each: Delivery, post: _Post) -> None:
        client = self._opened()
        body = to_json({"from": post.sender, "to": post.recipients})[:-1] + b"," + each.payload[1:]
        answer = client.post(
            "/emails", {**self._headers, "Idempotency-Key": each.id}, body, accepts=(400, 401, 403, 409, 422)
        )
        refusal = None if answer.status < 300 else self._refusal(answer)
        if refusal is not None:
            raise refusal
        if answer.status < 300 and not isinstance(_read(answer).get("id"), str):
            raise BadResponse("Resend: the answer is not one of Resend's. Is resend.url its address?")

    def sample(self) -> Sequence[Delivery]:
        """A mail that says it is a test, another one each time."""
        subject = "A test from aichat"
        told = "This is a test, sent by: aichat integrations test resend --send"
        return [
            Delivery(f"test-{uuid4()}", to_json({"subject": subject, "text": f"{told}\n", "html": f"<p>{told}</p>"}))
        ]

    def check(self) -> str:
        """Whether Resend takes the key and has verified the sender's domain. Sends no mail.

        A key that may only send is told so when it asks for domains, which shows that it is one.
        """
        post = self._post()
        answer = self._opened().get("/domains", self._headers, accepts=(400, 401, 403))
        recipients = ", ".join(post.recipients)
        said = _read(answer)
        if answer.status >= 300:
            if said.get("name") != "restricted_api_key":
                raise self._key_rejected(answer)
            return f"mail goes to {recipients}; the key may only send"
        domains = said.get("data")
        if not isinstance(domains, list):
            raise BadResponse("Resend: the answer is not one of Resend's. Is resend.url its address?")
        verified = {str(each.get("name")).lower() for each in domains if _is_verified(each)}
        if post.domain not in verified | {_TEST_DOMAIN} and not said.get("has_more"):
            raise ConfigError(
                f"Resend has not verified the domain {post.domain}, which resend.from is at.",
                hint="Verify it at https://resend.com/domains, or run: aichat config set resend.from ADDRESS",
            )
        return f"mail goes to {recipients}"

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _opened(self) -> ServiceClient:
        if self._client is None:
            key = self._key()
            self._headers = {"Authorization": f"Bearer {key.reveal()}"}
            self._client = ServiceClient("Resend", self._url, key, KEY_NAME, TIMEOUTS)
        return self._client

    def _key(self) -> Secret:
        return self._surroundings.key(KEY_NAME)

    def _post(self) -> _Post:
        settings = self._surroundings.settings
        return _Post.of(settings.text("resend.from"), settings.text("resend.to"))

    def _refusal(self, answer: Answer) -> AichatError | None:
        """What an answer other than success means; None where the mail was sent before."""
        name = str(_read(answer).get("name", ""))
        said = said_in(answer.body, self._key()).message
        if answer.status == 409:
            # The id was used for other words in the last 24 hours: by another device, or before the recipients changed.
            if name == "invalid_idempotent_request":
                return None
            return ProviderUnavailable(f"Resend answered 409: {said}.")
        is_about_the_key = name.endswith("_api_key") or "api key" in said.lower()
        if answer.status == 401 or is_about_the_key:
            return self._key_rejected(answer)
        if answer.status == 403 or any(field in said.lower() for field in ("from", "`to`", "domain")):
            return ConfigError(
                f"Resend does not send this mail: {said}",
                hint="Look at: aichat config get resend.from, and resend.to",
            )
        return RequestRejected(f"Resend answered {answer.status}: {said}.")

    def _key_rejected(self, answer: Answer) -> KeyRejected:
        return KeyRejected(
            f"Resend refuses the key from {self._key().source} ({answer.status}).",
            hint=f"Run: aichat keys set {KEY_NAME}",
        )


class _Post(Struct, frozen=True):
    """Who sends, and who gets it."""

    sender: str
    recipients: tuple[str, ...]

    @property
    def domain(self) -> str:
        """What the sender is at."""
        return self.sender.rpartition("@")[2].rstrip(">").lower()

    @classmethod
    def of(cls, sender: str, recipients: str) -> _Post:
        """As they are set; raises ConfigError where they are not, or nonsense."""
        if not sender.strip():
            raise ConfigError(
                "Mail has no sender: resend.from is not set.",
                hint="Run: aichat config set resend.from 'aichat <aichat@YOUR-DOMAIN>'",
            )
        if not recipients.strip():
            raise ConfigError(
                "Mail has no recipient: resend.to is not set.", hint="Run: aichat config set resend.to YOU@YOUR-DOMAIN"
            )
        several = tuple(each.strip() for each in recipients.split(",") if each.strip())
        for name, each in (("resend.from", sender.strip()), *(("resend.to", each) for each in several)):
            if not _MAILBOX.fullmatch(each):
                raise ConfigError(
                    f'"{each}" in {name} is no mail address.', hint=f"Write: aichat config set {name} NAME@DOMAIN"
                )
        if not several or len(several) > MOST_RECIPIENTS:
            raise ConfigError(
                f"resend.to names {len(several)} recipients; there may be 1 to {MOST_RECIPIENTS}.",
                hint="Run: aichat config set resend.to YOU@YOUR-DOMAIN",
            )
        return cls(sender.strip(), several)


def _payload(mail: Mail) -> bytes:
    return to_json({"subject": mail.subject, "text": mail.text, "html": mail.html})


def _is_verified(domain: object) -> bool:
    return isinstance(domain, dict) and domain.get("status") == "verified"


def _read(answer: Answer) -> dict[str, Any]:
    try:
        said = from_json(answer.body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}

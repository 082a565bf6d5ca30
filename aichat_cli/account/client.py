"""The gateway's calls about an account: who it is, what it has, which models it can ask, and buying credits.

Every failure is one of ours, with what to do about it. The key goes into a header and nowhere else.
"""

from __future__ import annotations

from contextlib import closing
from typing import TypeVar
from urllib.parse import quote

from aichat_cli.account.profile import Account, Window
from aichat_cli.accounts.keys import is_key, prefix_of
from aichat_cli.core.clock import utc_now, utc_text
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.errors import (
    AichatError,
    BadResponse,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    RequestRejected,
    TimedOut,
)
from aichat_cli.core.money import nano_from_usd
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct, field, json_reader, to_json
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.failures import retry_after, said_in
from aichat_cli.providers.gateway import ListedModel, refusal
from aichat_cli.providers.http import HttpResponse, HttpTransport
from aichat_cli.providers.said import Said

PATIENCE = Timeouts(connect=10.0, first_byte=20.0, idle=20.0)
BRIEF = Timeouts(connect=2.0, first_byte=2.0, idle=2.0)
"""Where the answer is worth less than the wait."""

_MOST_BYTES = 8_000_000
T = TypeVar("T")


class HostedPurchase(Struct, frozen=True):
    """Credits being bought through a gateway, at its price, in cents. `url` is where to pay, `balance` what there is now, in
    credits, where it says.
    """

    id: str
    state: str
    package: str
    credits: int
    amount_cents: int
    currency: str = "usd"
    url: str | None = None
    balance: float | None = None

    @property
    def balance_nano(self) -> int | None:
        """The balance in nano-dollars."""
        return None if self.balance is None else nano_of(self.balance)


class _User(Struct, frozen=True):
    id: str
    name: str


class _Key(Struct, frozen=True):
    prefix: str = ""
    name: str = ""
    scopes: tuple[str, ...] = ()
    expires_at: str | None = None


class _Credits(Struct, frozen=True):
    balance: float
    held: float = 0


class _Window(Struct, frozen=True):
    limit: int
    remaining: int
    reset_at: float | None = None


class _Account(Struct, frozen=True):
    user: _User
    plan: str
    credits: _Credits
    window: _Window
    key: _Key = _Key()
    sync: bool = False
    default_model: str | None = None


class _Model(Struct, frozen=True):
    id: str
    mode: str = "chat"
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    cached_usd_per_mtok: float | None = None
    dimensions: int | None = None
    reads_images: bool | None = None
    reads_pdf: bool | None = None
    reads_audio: bool | None = None


class _Models(Struct, frozen=True):
    data: tuple[_Model, ...] = field(default_factory=tuple)


class GatewayClient:
    """Asks one gateway with one key. Close it."""

    def __init__(self, url: str, key: Secret, timeouts: Timeouts = PATIENCE) -> None:
        self.url = url
        self._key = key
        self._timeouts = timeouts
        self._transport = HttpTransport()

    def account(self) -> Account:
        """Who the key belongs to, and what they have now.

        Raises:
            AccountError: the key is refused.
            ProviderError: the gateway cannot be reached, or what answers is none.
        """
        told = self._told("/v1/account", _Account)
        try:
            return self._account(told)
        except (ValueError, OverflowError, OSError):
            raise self._no_gateway() from None  # a number that is none of credits, or of a time

    def _account(self, told: _Account) -> Account:
        reset_at = None if told.window.reset_at is None else utc_text(int(told.window.reset_at * 1000))
        return Account(
            url=self.url,
            user_id=told.user.id,
            user_name=told.user.name,
            plan=told.plan,
            balance_nano=nano_of(told.credits.balance),
            held_nano=nano_of(told.credits.held),
            window=Window(told.window.limit, told.window.remaining, reset_at),
            as_of=utc_now(),
            key_prefix=told.key.prefix or (prefix_of(value) if is_key(value := self._key.reveal()) else ""),
            key_name=told.key.name,
            scopes=told.key.scopes,
            expires_at=told.key.expires_at,
            default_model=told.default_model,
            syncs=told.sync,
        )

    def models(self) -> tuple[ListedModel, ...]:
        """The models it serves, in its order. Raises as `account` does."""
        return tuple(_listed(each) for each in self._told("/v1/models", _Models).data)

    def buy(self, package: str) -> HostedPurchase:
        """Begin to buy a package, or go on with the purchase of it that is open.

        Raises:
            RequestRejected: there is no such package, or nothing is sold there; and as `account` does.
        """
        return self._purchase("/v1/credits/purchase", body=to_json({"package": package}))

    def purchase(self, purchase_id: str) -> HostedPurchase:
        """How a purchase stands now; raises NotFound, and as `account` does."""
        return self._purchase(f"/v1/credits/purchase/{quote(purchase_id, safe='')}")

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _purchase(self, path: str, *, body: bytes | None = None) -> HostedPurchase:
        told = self._told(path, HostedPurchase, body=body)
        if told.url is not None and not told.url.startswith(("https://", "http://")):
            raise BadResponse(
                f"The gateway {self.url} sends you to pay at something that is no page: it is not opened."
            )
        return told

    def _told(self, path: str, kind: type[T], *, body: bytes | None = None) -> T:
        response = self._sent(path, body)
        with closing(response):
            answer = response.read_limited(_MOST_BYTES)
        if response.status >= 400:
            said = said_in(answer, self._key)
            raise self._failure(response.status, said, retry_after(response.headers.get))
        try:
            return json_reader(kind)(answer)
        except ValueError:
            raise self._no_gateway() from None

    def _sent(self, path: str, body: bytes | None) -> HttpResponse:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._key.reveal()}"}
        url = self.url + path
        try:
            if body is None:
                return self._transport.get(url, headers, self._timeouts)
            return self._transport.post_json(url, headers, body, self._timeouts)
        except TimedOut as exc:
            raise TimedOut(exc.message, hint="Try again in a moment") from exc
        except BadResponse as exc:
            raise BadResponse(exc.message, hint="Check the address of the gateway") from exc

    def _failure(self, status: int, said: Said, wait: float | None) -> AichatError:
        words = f": {said.message}" if said.message and said.is_structured else "."
        if status >= 500 and status != 501:
            return ProviderUnavailable(f"The gateway {self.url} cannot answer now ({status}){words}", retry_after=wait)
        if said.is_structured and (error := refusal(self.url, status, said, wait)):
            return error
        if status == 404 and NotFound.code in said.kinds:
            return NotFound(f"The gateway {self.url} says{words}")
        if status in (404, 405) or not said.is_structured:
            return self._no_gateway()
        return RequestRejected(f"The gateway {self.url} says{words}")

    def _no_gateway(self) -> ProviderError:
        return BadResponse(
            f"{self.url} is not a gateway of aichat's, or not of this version.",
            hint="Check the address that its operator gave you",
        )


def nano_of(credits_: float) -> int:
    """Credits of JSON in nano-dollars."""
    return round(credits_ * NANO_PER_CREDIT)


def _listed(told: _Model) -> ListedModel:
    return ListedModel(
        name=told.id,
        is_embedding=told.mode == "embedding",
        context_tokens=told.context_tokens,
        max_output_tokens=told.max_output_tokens,
        input_nano=_rate(told.input_usd_per_mtok),
        output_nano=_rate(told.output_usd_per_mtok),
        cached_nano=_rate(told.cached_usd_per_mtok),
        dimensions=told.dimensions,
        reads_images=told.reads_images,
        reads_pdf=told.reads_pdf,
        reads_audio=told.reads_audio,
    )


def _rate(usd: float | None) -> int | None:
    return None if usd is None or usd < 0 else nano_from_usd(usd, rounds_up=True)

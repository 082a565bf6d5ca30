"""The models of a gateway that somebody has an account on, and what it says when it refuses."""

from __future__ import annotations

from aichat_cli.core.errors import (
    AccountSuspended,
    AichatError,
    CallKnown,
    CapReached,
    KeyRefused,
    OutOfCredits,
    PaymentRequired,
    PriceUnknown,
    RateLimited,
    ScopeMissing,
)
from aichat_cli.core.models import GATEWAY, Model
from aichat_cli.core.money import FREE, Price, Rates
from aichat_cli.core.struct import Struct
from aichat_cli.providers.said import Said

PREFIX = f"{GATEWAY}/"


class ListedModel(Struct, frozen=True):
    """One model as a gateway lists it. Rates are in nano-dollars per million tokens, None where it does not say."""

    name: str
    is_embedding: bool = False
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_nano: int | None = None
    output_nano: int | None = None
    cached_nano: int | None = None
    dimensions: int | None = None
    reads_images: bool | None = None
    reads_pdf: bool | None = None
    reads_audio: bool | None = None

    @property
    def price(self) -> Price | None:
        """What it charges; an embedding model only reads."""
        output = 0 if self.is_embedding and self.output_nano is None else self.output_nano
        if self.input_nano is None or output is None:
            return None
        price = Price(Rates(self.input_nano, output, self.cached_nano))
        return FREE if price.is_free else price


class Listing(Struct, frozen=True):
    """What a gateway serves, as it was when it was last asked; `default` is the model it would choose."""

    url: str
    models: tuple[ListedModel, ...] = ()
    default: str | None = None

    def model(self, name: str) -> Model:
        """The model that the gateway calls so; one that is not listed is passed on, for the gateway to have the last word."""
        known = next((each for each in self.models if each.name == name), ListedModel(name))
        return Model(
            name=PREFIX + name,
            wire_name=name,
            provider=GATEWAY,
            wire="openai",
            base_url=f"{self.url}/v1",
            key_name=GATEWAY,
            context_tokens=known.context_tokens,
            max_output_tokens=known.max_output_tokens,
            price=known.price,
            reads_images=known.reads_images,
            reads_pdf=known.reads_pdf,
            reads_audio=known.reads_audio,
            dimensions=known.dimensions,
        )

    def names(self, *, is_embedding: bool = False) -> list[str]:
        """The names of the models to chat with, or of those that embed, as a user types them."""
        return [PREFIX + each.name for each in self.models if each.is_embedding == is_embedding]


def refusal(name: str, status: int, said: Said, wait: float | None) -> AichatError | None:
    """What a gateway refuses an account, in its own words; None where it is something else that went wrong."""
    words = said.message if said.is_structured else ""
    codes = set(said.kinds)
    if status == 401 or KeyRefused.code in codes:
        return KeyRefused(
            f"The gateway {name} refused the key{_after(words)}", hint=f"With another key: aichat login {name}"
        )
    if status == 403:
        suspended = AccountSuspended.code in codes
        kind = AccountSuspended if suspended else ScopeMissing
        hint = None if "operator" in words else "Ask its operator"
        return kind(f"The gateway {name} does not let you do this{_after(words)}", hint=hint)
    if status == 402 or codes & {OutOfCredits.code, CapReached.code, PriceUnknown.code}:
        return _no_money(name, words, codes)
    if status == 409 and CallKnown.code in codes:
        return CallKnown(
            f"The gateway {name} had taken this question before, and its answer was lost on the way: it was not asked"
            " again, and what it cost then is charged.",
            hint="To ask anew, send it again; to see what it cost: aichat credits",
        )
    if status == 429:
        when = "" if wait is None or "gain in" in words else f" Try again in {max(1, round(wait))} s."
        return RateLimited(f"The gateway {name} says{_after(words, 'not now')}{when}", retry_after=wait)
    return None


def _no_money(name: str, words: str, codes: set[str]) -> PaymentRequired:
    kinds: dict[str, type[PaymentRequired]] = {CapReached.code: CapReached, PriceUnknown.code: PriceUnknown}
    kind = next((kinds[code] for code in codes if code in kinds), OutOfCredits)
    hint = "For more: aichat credits buy small" if kind is OutOfCredits and "aichat credits" not in words else None
    return kind(f"The gateway {name} says{_after(words, 'the credits do not cover this')}", hint=hint)


def _after(words: str, otherwise: str = "") -> str:
    words = words or otherwise
    if not words:
        return "."
    return f": {words}" + ("" if words[-1] in ".!?…" else ".")

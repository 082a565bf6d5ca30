"""The door to Stripe: Checkout Sessions, customers, refunds, disputes, and the signatures of events. The only importer of
its SDK, which is an extra and takes a tenth of a second to load: everything here loads it on use.

What leaves this module is data of ours and errors of ours. The key goes into the request's header and nowhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from aichat_cli.billing.purchases import metadata_of
from aichat_cli.billing.stripe_data import dispute_of, refund_of, session_of
from aichat_cli.core.checkout import CheckoutSession, Purchase, Reversal
from aichat_cli.core.errors import (
    AichatError,
    BadSignature,
    ConfigError,
    ConnectFailed,
    KeyRejected,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    TimedOut,
)
from aichat_cli.core.secret import Secret

if TYPE_CHECKING:
    import stripe
    from requests import PreparedRequest, Session

KEY_NAME = "stripe"
API_BASE_VARIABLE = "AICHAT_STRIPE_API_BASE"
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
RETRIES = 2

_KEY = re.compile(r"(?:sk|rk)_(test|live)_[A-Za-z0-9_]+")
_LOOPBACK = re.compile(r"https?://(?:127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\]):\d{1,5}/?")


def api_base_of(environ: Mapping[str, str]) -> str | None:
    """Where the tests' double of Stripe listens, None for Stripe itself.

    Raises:
        ConfigError: it is not an address of this machine: a key must not be sent anywhere else.
    """
    base = environ.get(API_BASE_VARIABLE, "").strip()
    if base and not _LOOPBACK.fullmatch(base):
        raise ConfigError(
            f"{API_BASE_VARIABLE} is for tests: it takes a loopback address such as http://127.0.0.1:8080.",
            hint=f"Unset {API_BASE_VARIABLE}",
        )
    return base.rstrip("/") or None


class StripeCheckout:
    """Stripe, spoken to with one secret key.

    Args:
        key: a secret or restricted key, test or live.
        api_base: another address of the API, for tests.
        answer_seconds: to wait for an answer.

    Raises:
        KeyRejected: it is not such a key.
        ConfigError: the SDK is not installed.
    """

    def __init__(self, key: Secret, *, api_base: str | None = None, answer_seconds: float = ANSWER_SECONDS) -> None:
        mode = _KEY.fullmatch(key.reveal())
        if mode is None:
            raise KeyRejected(
                f"The key for Stripe ({key.source}) is not a secret key: those begin with sk_test_, sk_live_, rk_test_"
                " or rk_live_.",
                hint="Copy the secret key from https://dashboard.stripe.com/apikeys and run: aichat keys set stripe",
            )
        self.is_live = mode[1] == "live"
        sdk = _sdk()
        self._session = _http_session()
        http_client = sdk.RequestsClient(timeout=(CONNECT_SECONDS, answer_seconds), session=self._session)
        self._api = sdk.StripeClient(
            key.reveal(),
            http_client=http_client,
            max_network_retries=RETRIES,
            base_addresses={"api": api_base} if api_base else None,
        ).v1

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def customer(self, known: str | None, *, user_id: str, purchase_id: str) -> str:
        """The customer to bill: the one that is known where Stripe has it still, else a new one.

        Asking again for the same purchase gives the same new one.
        """
        if known is not None and self._has_customer(known):
            return known
        with _errors("make a customer"):
            made = self._api.customers.create(
                {"metadata": {"userId": user_id}, "description": "aichat"},
                {"idempotency_key": f"customer-{purchase_id}"},
            )
        return str(made.id)

    def _has_customer(self, customer_id: str) -> bool:
        try:
            with _errors("look for the customer"):
                found = self._api.customers.retrieve(customer_id)
        except NotFound:
            return False
        return not getattr(found, "deleted", False)

    def create(self, purchase: Purchase) -> CheckoutSession:
        """The session of a purchase: made now, or the very one that an earlier request for it made."""
        metadata = metadata_of(purchase)
        with _errors("begin the purchase"):
            made = self._api.checkout.sessions.create(
                {
                    "mode": "payment",
                    "customer": purchase.customer_id or "",
                    "client_reference_id": purchase.id,
                    "metadata": metadata,
                    "payment_intent_data": {"metadata": metadata},
                    "adaptive_pricing": {"enabled": False},
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": purchase.currency,
                                "unit_amount": purchase.amount_cents,
                                "product_data": {"name": f"{purchase.credits:,} aichat credits"},
                            },
                        }
                    ],
                    "success_url": f"{purchase.return_url}/success?session_id={{CHECKOUT_SESSION_ID}}",
                    "cancel_url": f"{purchase.return_url}/cancelled",
                },
                {"idempotency_key": purchase.id},
            )
        return session_of(made.to_dict())

    def retrieve(self, session_id: str) -> CheckoutSession:
        """How a session stands.

        Raises:
            NotFound: the account of this key has no such session.
        """
        with _errors("look for the payment"):
            found = self._api.checkout.sessions.retrieve(session_id, {"expand": ["payment_intent"]})
        return session_of(found.to_dict())

    def find(self, purchase: Purchase) -> CheckoutSession | None:
        """The session of a purchase whose answer was lost, None where Stripe has none of it."""
        if purchase.customer_id is None:
            return None
        try:
            with _errors("look for the purchase"):
                listed = self._api.checkout.sessions.list({"customer": purchase.customer_id, "limit": 100})
                sessions = [session_of(each.to_dict()) for each in listed.auto_paging_iter()]
        except NotFound:
            return None
        return next((each for each in sessions if each.reference == purchase.id), None)

    def expire(self, session_id: str) -> CheckoutSession:
        """End an open session, so that it cannot be paid any more; how it stands then: it may have been paid already."""
        try:
            with _errors("cancel the purchase"):
                ended = self._api.checkout.sessions.expire(session_id)
        except RequestRejected:
            return self.retrieve(session_id)
        return session_of(ended.to_dict())

    def reversals(self, payment_intent: str) -> list[Reversal]:
        """The refunds and disputes of a payment that moved money."""
        with _errors("look for refunds"):
            refunds = self._api.refunds.list({"payment_intent": payment_intent, "limit": 100})
            gone = [refund_of(each.to_dict()) for each in refunds.auto_paging_iter()]
            disputes = self._api.disputes.list({"payment_intent": payment_intent, "limit": 100})
            gone += [dispute_of(each.to_dict()) for each in disputes.auto_paging_iter()]
        return [each for each in gone if each is not None]


def verified_time(payload: bytes, header: str, secrets: Sequence[Secret]) -> int:
    """When an event was signed, in seconds of Unix time; how long ago that may be is for the caller to say.

    Raises:
        BadSignature: none of the secrets made any of its signatures.
    """
    sdk = _sdk()
    for secret in secrets:
        try:
            sdk.WebhookSignature.verify_header(payload, header, secret.reveal(), None)
        except (sdk.SignatureVerificationError, ValueError, TypeError):
            continue
        # As the SDK reads it: the first `t` counts.
        return int(next(item.split("=", 2)[1] for item in header.split(",") if item.startswith("t=")))
    raise BadSignature("The event has no valid signature of Stripe.")


def _sdk() -> Any:
    """The SDK, silenced: no telemetry, nothing told to Stripe of this machine."""
    if find_spec("stripe") is None:
        raise ConfigError(
            "Buying credits needs Stripe's library, which is not installed.",
            hint="Run: pip install 'aichat-terminal[stripe]'",
        )
    import stripe

    stripe.enable_telemetry = False
    if bundle := os.environ.get("SSL_CERT_FILE"):
        stripe.ca_bundle_path = bundle
    return stripe


def _http_session() -> Session:
    import requests

    session = requests.Session()
    # Else a .netrc of the user's would replace the key.
    session.auth = _unchanged
    session.max_redirects = 0
    return session


def _unchanged(request: PreparedRequest) -> PreparedRequest:
    return request


@contextmanager
def _errors(action: str) -> Iterator[None]:
    """Turn the SDK's exceptions into ours; `action` says what could not be done."""
    import stripe

    try:
        yield
    except stripe.StripeError as exc:
        raise _mapped(exc, action) from exc


def _mapped(error: stripe.StripeError, action: str) -> AichatError:
    import stripe

    said = " ".join((error.user_message or "no reason was given").split())
    told = f"Stripe could not {action}: {said.rstrip('.')}."
    if isinstance(error, stripe.APIConnectionError):
        return _network_error(error, action)
    if isinstance(error, stripe.AuthenticationError):
        return KeyRejected(f"Stripe refused the key: {said.rstrip('.')}.", hint="Run: aichat keys set stripe")
    if isinstance(error, stripe.RateLimitError):
        return RateLimited(told, retry_after=_seconds(error.headers), hint="Try again in a minute")
    if error.code == "resource_missing":
        return NotFound(told, hint="Is it the key of the same Stripe account, and of the same mode?")
    return _rejection(told, error.http_status or 0)


def _rejection(told: str, status: int) -> AichatError:
    if status >= 500 or status == 409:  # 409: the same request of another process is under way
        return ProviderUnavailable(told, hint="Try again: aichat credits buy --resume")
    if not status >= 400:
        return ProviderError(told)
    hint = "Allow it for this restricted key: https://dashboard.stripe.com/apikeys" if status == 403 else None
    return RequestRejected(told, hint=hint)


def _network_error(error: stripe.APIConnectionError, action: str) -> AichatError:
    from requests.exceptions import SSLError, Timeout

    hint = "When the network is back, go on with: aichat credits buy --resume"
    if isinstance(error.__cause__, Timeout):
        return TimedOut(f"Stripe did not answer in time; could not {action}.", hint=hint)
    if isinstance(error.__cause__, SSLError):
        return ConnectFailed(f"Could not {action}: the certificate of api.stripe.com was not accepted.", hint=hint)
    return ConnectFailed(f"No connection to Stripe; could not {action}.", hint=hint)


def _seconds(headers: Mapping[str, str] | None) -> float | None:
    try:
        return float((headers or {}).get("retry-after", ""))
    except ValueError:
        return None

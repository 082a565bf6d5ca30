"""What Helicone itself refuses, told apart from what a provider refuses through it."""

from __future__ import annotations

from aichat_cli.core.errors import AichatError, KeyRejected, ProviderError, ProviderUnavailable, RateLimited
from aichat_cli.providers.endpoints import HELICONE
from aichat_cli.providers.said import Said

NAME = "Helicone"


def refusal_of(status: int, said: Said, wait: float | None) -> AichatError | None:
    """Helicone's own refusal of a call; None where it passes on what the provider says."""
    is_its_own = HELICONE in said.message.lower() or any(HELICONE in kind.lower() for kind in said.kinds)
    return refused(status, said, wait) if is_its_own else None


def refused(status: int, said: Said, wait: float | None) -> AichatError:
    words = f": {said.message}" if said.message else "."
    if status in (401, 403):
        return KeyRejected(f"{NAME} refused its key{words}", hint=f"Run: aichat keys set {HELICONE}")
    if status == 429:
        return RateLimited(f"{NAME} limits how often you may ask{words}", retry_after=wait)
    if status == 408 or status >= 500:
        return ProviderUnavailable(f"{NAME} cannot answer now ({status}){words}", retry_after=wait)
    return ProviderError(
        f"{NAME} rejected the request ({status}){words}",
        hint="To ask without it: aichat config unset helicone.providers",
    )

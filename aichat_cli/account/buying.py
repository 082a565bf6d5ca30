"""Buying credits through a gateway: it asks Stripe and adds the credits, whoever waits here or does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from aichat_cli.account.client import GatewayClient, HostedPurchase
from aichat_cli.account.services import AccountServices
from aichat_cli.core.errors import AichatError, NotFound, is_transient
from aichat_cli.core.struct import Struct, replace

FIRST_POLL_SECONDS = 2.0
LONGEST_POLL_SECONDS = 15.0
SLICE_SECONDS = 0.2
"""A signal that another thread took wakes nobody: waiting is done in slices of this."""

How = Literal["paid", "processing", "expired", "refused", "timeout"]
_ENDS: dict[str, How] = {"paid": "paid", "processing": "processing", "expired": "expired", "refused": "refused"}


class HostedEnding(Struct, frozen=True):
    """How waiting for a purchase ended; one that is `processing` is with a bank, which may take days."""

    how: How
    purchase: HostedPurchase


def ending_of(purchase: HostedPurchase) -> HostedEnding | None:
    """The end of a purchase, None where it can still be paid."""
    how = _ENDS.get(purchase.state)
    return HostedEnding(how, purchase) if how else None


def start(account: AccountServices, client: GatewayClient, package: str) -> HostedPurchase:
    """Begin to buy a package, or go on with the open purchase of it; it is remembered until it has ended.

    Raises:
        AichatError: as `GatewayClient.buy` says.
    """
    purchase = client.buy(package)
    _remember(account, add=purchase.id)
    return purchase


def open_purchases(account: AccountServices, client: GatewayClient) -> list[HostedPurchase]:
    """How each purchase that was begun here and not seen to its end stands now; one that nobody knows is forgotten."""
    found: list[HostedPurchase] = []
    for purchase_id in account.profile.purchases if account.profile else ():
        try:
            found.append(client.purchase(purchase_id))
        except NotFound:
            _remember(account, drop=purchase_id)
    return found


def endings(
    account: AccountServices,
    client: GatewayClient,
    purchases: Sequence[HostedPurchase],
    *,
    timeout: float | None,
    on_trouble: Callable[[AichatError], None],
) -> Iterator[HostedEnding]:
    """Wait for purchases to be paid or to expire, each as it ends.

    Args:
        timeout: seconds to wait at most.
        on_trouble: told of a failure of the network, once until it is over.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    remaining = {each.id: each for each in purchases}
    delay, is_troubled = FIRST_POLL_SECONDS, False
    while True:
        for each in list(remaining.values()):
            if ending := ending_of(each):
                del remaining[each.id]
                if ending.how != "processing":
                    _remember(account, drop=each.id)
                yield ending
        if not remaining:
            return
        if not _waited(delay, deadline):
            yield from (HostedEnding("timeout", each) for each in remaining.values())
            return
        delay = min(delay * 1.2, LONGEST_POLL_SECONDS)
        try:
            remaining = {each: client.purchase(each) for each in remaining}
            is_troubled = False
        except AichatError as error:
            if not is_transient(error):
                raise
            if not is_troubled:
                on_trouble(error)
            is_troubled = True


def _remember(account: AccountServices, *, add: str = "", drop: str = "") -> None:
    known = account.profile
    if known is None:
        return
    kept = tuple(dict.fromkeys([*(each for each in known.purchases if each != drop), *([add] if add else [])]))
    if kept != known.purchases:
        account.remember(replace(known, purchases=kept))


def _waited(seconds: float, deadline: float | None) -> bool:
    """Wait so long; False where the deadline passed."""
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        if deadline is not None and now >= deadline:
            return False
        time.sleep(min(SLICE_SECONDS, end - now))
    return True

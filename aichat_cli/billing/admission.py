"""Whether a call may be sent, and what is held for it while it runs.

In own-keys mode without caps nothing is refused and nothing is held: the provider's bill is the user's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from aichat_cli.core.ids import RequestId, new_id
from aichat_cli.core.models import Model


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that may be sent. `reserved_nano` is what is held for it, in nano-dollars, until it settles."""

    request_id: RequestId
    reserved_nano: int


def admit(model: Model) -> Admission:  # noqa: ARG001 (a reservation is made at this model's price)
    """Admit one call to `model`; its request id keys the usage row, so that it is charged once."""
    return Admission(request_id=RequestId(new_id()), reserved_nano=0)

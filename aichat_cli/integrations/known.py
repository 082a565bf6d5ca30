"""The integrations that can be named: what each is for, and what it is told. Nothing of any is loaded."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from aichat_cli.config import plugins
from aichat_cli.core.errors import NotFound
from aichat_cli.core.struct import Struct

HELICONE = "helicone"
PINECONE = "pinecone"


class Integration(Struct, frozen=True):
    """One integration.

    Attributes:
        title: what messages call it.
        purpose: a few words.
        sends: what leaves the machine where it is on, one or two sentences.
        key_name: of `aichat keys set`, empty where nobody knows of a key.
        needs: settings that it does not work without.
        turned_on_by, turned_off_by: commands, empty where the setting `integrations` does it.
    """

    name: str
    title: str
    purpose: str
    sends: str
    key_name: str = ""
    needs: tuple[str, ...] = ()
    turned_on_by: str = ""
    turned_off_by: str = ""

    @property
    def is_observer(self) -> bool:
        """Whether it is told of turns, where the setting `integrations` names it."""
        return not self.turned_on_by


OURS: Mapping[str, Integration] = {
    each.name: each
    for each in (
        Integration(
            "langsmith",
            "LangSmith",
            "traces of turns",
            "the steps of each turn, its model, times, tokens, cost and kind of error; what was said only where the"
            " setting langsmith.content is true.",
            "langsmith",
        ),
        Integration(
            HELICONE,
            "Helicone",
            "log of provider calls",
            "the calls to the providers you name, which pass through it whole; it keeps what was said only where the"
            " setting helicone.content is true.",
            HELICONE,
            turned_on_by="aichat config set helicone.providers openai",
            turned_off_by="aichat config unset helicone.providers",
        ),
        Integration(
            "posthog",
            "PostHog",
            "counts of usage",
            "an event for each turn: its model, provider, times, tokens, cost and kind of error, under a random id; never"
            " what was said.",
            "posthog",
        ),
        Integration(
            "resend",
            "Resend",
            "mail about spending",
            "mails for the address in resend.to: when a cap is near or reached, when credits run low, and a summary of each"
            " month; never what was said.",
            "resend",
            needs=("resend.from", "resend.to"),
        ),
        Integration(
            PINECONE,
            "Pinecone",
            "vectors of documents",
            "the vectors of the collections you move there and of questions to them, without their text.",
            PINECONE,
            turned_on_by="aichat docs migrate --to pinecone",
            turned_off_by="aichat docs migrate --to local",
        ),
    )
}


def names() -> tuple[str, ...]:
    """All names: ours, then those that other packages add."""
    return tuple(dict.fromkeys([*OURS, *plugins.names(plugins.OBSERVERS)]))


def find(name: str) -> Integration:
    """The integration of a name.

    Raises:
        NotFound: there is none; names a near one.
    """
    if name in OURS:
        return OURS[name]
    if name in plugins.names(plugins.OBSERVERS):
        packages = [each.package for each in plugins.installed() if each.name == name]
        package = f"the package {packages[0]}"
        return Integration(
            name, name, f"of {package}", f"what {package} makes of each turn, which may be all of it.", name
        )
    near = difflib.get_close_matches(name, names(), n=1)
    meant = f' Did you mean "{near[0]}"?' if near else ""
    raise NotFound(f'No integration "{name}".{meant}', hint="Run: aichat integrations list")

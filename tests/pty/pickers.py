"""Runs one picker as a program and prints what it returned: `python -m tests.pty.pickers NAME [ARGUMENT]`.

With PICKERS_WAIT in the environment it goes on running afterwards.
"""

from __future__ import annotations

import os
import sys
import time

from aichat_cli.app import App
from aichat_cli.core import interrupts
from aichat_cli.core.ids import ConversationId
from aichat_cli.repl.picker.branches import pick_branch
from aichat_cli.repl.picker.chats import pick_conversation
from aichat_cli.repl.picker.models import pick_model
from aichat_cli.repl.picker.settings import pick_settings
from aichat_cli.storage import conversations


def main(name: str, argument: str | None = None) -> None:
    """Run it in the house of the environment; `argument` is the current conversation or model."""
    interrupts.install()
    house = App()
    try:
        print("\nresult:", _run(house, name, argument))
        if os.environ.get("PICKERS_WAIT"):
            print("waiting", flush=True)
            time.sleep(60)
    finally:
        house.close()


def _run(house: App, name: str, argument: str | None) -> object:
    if name == "chats":
        current = ConversationId(argument) if argument else None
        return pick_conversation(house, current, export=lambda talk: f"Written to {talk[:8]}.md.")
    if name == "models":
        model = pick_model(house, house.registry.resolve(argument or "gpt-4o-mini"))
        return model and model.name
    if name == "settings":
        result = pick_settings(house)
        values = {changed: house.settings.effective(changed).value for changed in result.changed}
        return f"{result} {values}"
    talk = conversations.latest(house.database)
    assert talk is not None
    return pick_branch(house.database, talk.id, talk.head_id)


if __name__ == "__main__":
    main(*sys.argv[1:])

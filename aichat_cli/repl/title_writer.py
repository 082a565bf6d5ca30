"""Names a new conversation by a model, in the background, where the setting `titles.model` asks for that."""

from __future__ import annotations

import threading
from contextlib import closing

from aichat_cli.app import App
from aichat_cli.chat.request import TurnRequest
from aichat_cli.chat.titles import title_from
from aichat_cli.chat.turn import run
from aichat_cli.core.errors import AichatError
from aichat_cli.core.events import TextDelta
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.core.messages import Conversation
from aichat_cli.core.struct import replace
from aichat_cli.storage import conversations

LONGEST_SHOWN = 2_000
INSTRUCTION = (
    "Name this conversation in at most six words, in its own language. Answer with the name only, without quotes."
)


def name_in_background(house: App, conversation: Conversation, question: str, answer: str) -> None:
    """Give a conversation a title by the model of `titles.model`; its cost is in the books like any other.

    A title the user gave meanwhile stays. What fails leaves the title as it is: a name is worth no error.
    """
    thread = threading.Thread(target=_name, args=(house, conversation, question, answer), name="title", daemon=True)
    thread.start()


def _name(house: App, conversation: Conversation, question: str, answer: str) -> None:
    leave_signals_to_the_main_thread()
    try:
        model = house.registry.resolve(house.settings.text("titles.model"))
        prompt = f"Question:\n{question[:LONGEST_SHOWN]}\n\nAnswer:\n{answer[:LONGEST_SHOWN]}"
        with house.database.reopen() as database, closing(house.new_provider(model)) as provider:
            deps = replace(house.side_deps(database), provider_for=lambda _: provider)
            with deps.transcript:
                events = run(TurnRequest(model, prompt, system=INSTRUCTION, usage_type="completion"), deps)
                title = "".join(event.text for event in events if isinstance(event, TextDelta))
            if title.strip():
                new_title = title_from(title.strip().strip('"'))
                conversations.rename_untouched(database, conversation.id, conversation.title, new_title)
    except AichatError:
        return

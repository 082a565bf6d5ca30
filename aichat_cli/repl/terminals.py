"""Which terminal a session gets: one with a prompt that stays alive, or plain lines where nothing can be drawn."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aichat_cli.render.theme import reflows
from aichat_cli.repl.live import SessionTerminal

if TYPE_CHECKING:
    from aichat_cli.repl.session import Session


def new_terminal(session: Session) -> SessionTerminal:
    """The terminal of a session, not started yet."""
    if os.environ.get("TERM") == "dumb":
        from aichat_cli.repl.plain_front import PlainFront

        return PlainFront()
    from aichat_cli.repl.completer import SessionCompleter
    from aichat_cli.repl.front import Front

    settings = session.house.settings
    return Front(
        history_file=session.house.paths.input_history if session.log else None,
        completer=SessionCompleter(session.house),
        theme=session.theme,
        shows_reasoning=settings.flag("show_reasoning"),
        vi=settings.text("keys") == "vi",
        reflows=reflows(os.environ),
    )

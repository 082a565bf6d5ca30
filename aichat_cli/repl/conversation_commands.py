"""Slash commands that move over conversations and their branches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aichat_cli.core.errors import AichatError, ArchiveError, NotFound, UnknownModel, UsageError
from aichat_cli.core.ids import ConversationId
from aichat_cli.core.messages import Conversation, Message
from aichat_cli.core.struct import replace
from aichat_cli.render.sanitize import safe_line
from aichat_cli.repl.carried import Carried
from aichat_cli.storage import attachments, conversations

if TYPE_CHECKING:
    from aichat_cli.repl.session import Session


def new(session: Session, _: str) -> None:
    """A new conversation."""
    session.begin_new()
    session.say("A new conversation.")


def chats(session: Session, _: str) -> None:
    """The sidebar: find, resume, rename, fork, export and delete."""
    from aichat_cli.repl.picker.chats import pick_conversation

    current = session.template.conversation_id
    with session.terminal.suspended():
        result = pick_conversation(
            session.house, current, deleted=session.deleted, export=lambda chosen: _exported(session, chosen)
        )
    session.deleted = result.deleted
    if result.opened is not None and result.opened != current:
        switch_to(session, conversations.get(session.transcript, result.opened))
    elif current is not None and current in result.deleted:
        session.begin_new()
        session.diagnostics.notice("The conversation was deleted. /delete undo takes it back.")


def _exported(session: Session, conversation_id: ConversationId) -> str:
    return f"Exported to {export_to(session, conversation_id, Path())}."


def export(session: Session, argument: str) -> None:
    """Write the conversation in use to a file: all of it, as its suffix says."""
    path = Path(argument).expanduser() if argument else Path()
    session.diagnostics.notice(f"Exported to {export_to(session, session.conversation().id, path)}.")


def export_to(session: Session, conversation_id: ConversationId, path: Path) -> Path:
    """Write a conversation to a new file, or into a folder as Markdown; where it is."""
    from aichat_cli.render.export import write_export

    try:
        [file] = write_export(session.transcript, [conversations.get(session.transcript, conversation_id)], path)
    except ArchiveError as error:
        raise UsageError(error.message) from error
    return file


def resume(session: Session, reference: str) -> None:
    """Go on with an earlier conversation; alone, choose one."""
    if not reference:
        chats(session, "")
        return
    switch_to(session, conversations.find(session.transcript, reference))


def switch_to(session: Session, conversation: Conversation) -> None:
    """Go on with a conversation, with the model it had where that can still be named."""
    if conversation.model:
        try:
            session.use_model(session.house.registry.resolve(conversation.model))
        except UnknownModel as error:
            session.diagnostics.notice(f"{error.message} {session.template.model.name} goes on.")
    session.go_on_with(conversation)


def retry(session: Session, name: str) -> None:
    """Ask for the last answer once more, of another model where one is named."""
    question = session.last_question()
    if name:
        session.use_model(session.house.registry.resolve(name))
    session.answer(replace(session.template, prompt=None, parent_id=question.id))


def undo(session: Session, _: str) -> None:
    """Move back before the last exchange and offer its question for editing."""
    question = session.last_question()
    conversation = session.conversation()
    conversations.move_head(session.transcript, conversation.id, question.parent_id)
    session.edited = None
    session.template = replace(session.template, parent_id=question.parent_id)
    _offer_again(session, question)
    session.say("Taken back. The question is in the prompt again.")


def edit(session: Session, word: str) -> None:
    """Offer the last question for editing; nothing moves before it is sent."""
    if word == "-":
        session.edited = None
        session.diagnostics.notice("The conversation goes on where it was.")
        return
    if word:
        raise UsageError("/edit takes nothing after it, or - to give an edit up.")
    question = session.last_question()
    session.edited = replace(session.template, parent_id=question.parent_id)
    _offer_again(session, question)
    session.diagnostics.notice("Sending asks it again in a new branch; the first one is kept. /edit - gives that up.")


def _offer_again(session: Session, question: Message) -> None:
    """Put a question into the prompt, and its files beside it."""
    files = attachments.of_messages(session.transcript, [question.id]).get(question.id, ())
    session.carried[:] = [Carried(safe_line(file.name), attachment=file) for file in files]
    session.terminal.prefill(question.content)


def fork(session: Session, title: str) -> None:
    """Copy the branch in use into a conversation of its own, and go on there."""
    from aichat_cli.storage import forks

    source = session.conversation()
    copy = forks.fork(session.transcript, source.id, session.template.parent_id)
    if title:
        conversations.rename(session.transcript, copy, " ".join(title.split()))
    forked = conversations.get(session.transcript, copy)
    session.use_conversation(forked)
    session.diagnostics.notice(f'Going on in "{safe_line(forked.title)}"; the first stays as it is.')


def branches(session: Session, _: str) -> None:
    """Choose another branch in a picture of the tree."""
    from aichat_cli.repl.picker.branches import pick_branch

    conversation = session.conversation()
    with session.terminal.suspended():
        head = pick_branch(session.transcript, conversation.id, session.template.parent_id)
    if head is not None and head != session.template.parent_id:
        conversations.move_head(session.transcript, conversation.id, head)
        session.go_on_with(conversations.get(session.transcript, conversation.id))


def title(session: Session, text: str) -> None:
    """Show or change the title."""
    conversation = session.conversation()
    if not text:
        session.say(conversation.title)
        return
    conversations.rename(session.transcript, conversation.id, " ".join(text.split()))
    session.diagnostics.notice(f'Now called "{safe_line(text)}".')


def delete(session: Session, word: str) -> None:
    """Put the conversation into the trash, or take the last one out of it."""
    if word == "undo":
        # A session that was killed has left its trash to the next one.
        last = session.deleted[-1] if session.deleted else conversations.last_in_trash(session.transcript)
        if last is None:
            raise UsageError("Nothing was deleted that could be taken back.")
        conversations.restore(session.transcript, last)
        session.deleted = session.deleted[:-1]
        switch_to(session, conversations.get(session.transcript, last))
        return
    if word:
        raise UsageError("/delete takes nothing after it, or undo.")
    conversation = session.conversation()
    conversations.move_to_trash(session.transcript, conversation.id)
    session.deleted = (*session.deleted, conversation.id)
    session.begin_new()
    session.diagnostics.notice(f'Deleted "{safe_line(conversation.title)}". /delete undo takes it back.')


def lost_conversation(session: Session, error: AichatError) -> AichatError | None:
    """What is wrong where the conversation in use is gone: nobody asked for it by its number."""
    current = session.template.conversation_id
    if current is None or not isinstance(error, NotFound) or current not in error.message:
        return None
    return NotFound("This conversation was deleted in another session.", hint="/new begins another")

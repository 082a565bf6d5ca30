# ruff: noqa: RUF001 - the signs of the screen, and titles in other scripts
"""The full-screen pickers on a terminal: every key, at several sizes, with hostile titles and failing databases."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from aichat_cli.core.clock import utc_now
from aichat_cli.core.ids import ConversationId
from aichat_cli.storage import conversations
from aichat_cli.storage.database import Database
from tests.pty.terminal import Terminal, terminal
from tests.runner import Cli
from tests.storage.support import said

UP, DOWN, HOME, END = "\x1b[A", "\x1b[B", "\x1b[H", "\x1b[F"
PAGE_UP, PAGE_DOWN = "\x1b[5~", "\x1b[6~"
F1, F2, F3 = "\x1bOP", "\x1bOQ", "\x1bOR"
CTRL_C, CTRL_D, CTRL_E, CTRL_F, CTRL_R, CTRL_T, CTRL_U, CTRL_Z = (
    "\x03",
    "\x04",
    "\x05",
    "\x06",
    "\x12",
    "\x14",
    "\x15",
    "\x1a",
)
ESC, ENTER, TAB = "\x1b", "\r", "\t"
HINTS = "F1 keys"
AS_ANYBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""Root may write everywhere, so a process that started as root gives that up first."""


@contextmanager
def picker(
    cli: Cli, name: str, *arguments: str, columns: int = 60, rows: int = 15, **environ: str
) -> Iterator[Terminal]:
    program = (sys.executable, "-m", "tests.pty.pickers", name)
    with terminal(cli, *arguments, columns=columns, rows=rows, program=program, folder=None, **environ) as screen:
        screen.wait_for(HINTS)
        yield screen


def talks(cli: Cli, *titles: str) -> list[ConversationId]:
    """Conversations of these titles, the last the newest."""
    with Database.open(cli.database) as db:
        made = []
        for title in titles:
            made.append(said(db, f"about {title}", f"an answer on {title}", title=title).conversation_id)
            time.sleep(0.002)
        return made


def result(screen: Terminal) -> str:
    """What the picker returned."""
    assert screen.wait_for_exit() == 0
    return "".join(screen.text.partition("result: ")[2].split("\n"))


def matching(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.search(pattern, text) is not None


def lines(screen: Terminal) -> list[str]:
    return [line.rstrip() for line in screen.settle().splitlines()]


def listed(screen: Terminal) -> list[str]:
    """The titles in the list, at a size without a preview."""
    rows = [line for line in lines(screen)[2:-1] if re.match(r" ( |•) \S", line)]
    return [re.split(r"\s{2,}", line[3:])[0] for line in rows]


def selected(screen: Terminal) -> str:
    """The line with the bar."""
    screen.settle()
    buffer = screen._screen.buffer
    bars = [y for y in range(screen._screen.lines) if buffer[y][2].reverse]
    assert len(bars) <= 1, screen.text
    return screen._screen.display[bars[0]].strip() if bars else ""


def date_column(row: Mapping[int, Any]) -> int | None:
    """The cell in which a time such as 14:05 begins that ends a line of the list."""
    for x in range(max(row, default=0) - 4):
        cells = "".join(row[x + step].data for step in range(6))
        if re.fullmatch(r"\d\d:\d\d ", cells) and row[x - 1].data == " " and row[x - 2].data == " ":
            return x
    return None


def moved_to(cli: Cli, talk: ConversationId, updated_at: str) -> None:
    with Database.open(cli.database) as db:
        db.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (updated_at, talk))


def test_conversations_are_listed_newest_first_under_headings_and_enter_opens_one(cli: Cli) -> None:
    old, older, new = talks(cli, "Old", "Older", "New")
    moved_to(cli, old, "2024-10-12T10:00:00.000Z")
    moved_to(cli, older, "2024-09-12T10:00:00.000Z")
    with picker(cli, "chats") as screen:
        screen.wait_for("September 2024")
        assert [line.split("  ")[0] for line in lines(screen)[2:8]] == [
            " Today", "", " October 2024", "", " September 2024", ""
        ]  # fmt: skip
        assert listed(screen) == ["New", "Old", "Older"]
        assert selected(screen).startswith("New")
        screen.type(DOWN + ENTER)
        assert f"opened='{old}'" in result(screen)
    assert new != old


def test_typing_filters_over_titles_and_text_and_marks_what_was_found(cli: Cli) -> None:
    talks(cli, "Trip to Rome", "Bread", "Garden")
    with Database.open(cli.database) as db:
        said(db, "where are zebras?", "not in Rome", title="Animals")
    with picker(cli, "chats", columns=80) as screen:
        screen.type("rome")
        screen.wait_for("2 found")
        shown = lines(screen)
        assert [line.strip() for line in shown if line.startswith(" In ")] == ["In titles", "In messages"]
        assert listed(screen) == ["Trip to Rome", "Animals"]
        assert "not in Rome" in shown[5]
        row = screen._screen.buffer[3]
        assert [row[x].data for x in range(80) if row[x].underscore] == list("Rome")
        screen.type(ESC)
        screen.wait_for("Garden")
        assert len(listed(screen)) == 4
        screen.type(ESC)
        assert result(screen).startswith("ChatsResult(opened=None")


@pytest.mark.parametrize(("typed", "found"), [("g", ["Größe", "Garden"]), ("GRÖ", ["Größe"]), ("語", ["日本語"])])
def test_a_letter_or_two_filter_titles(cli: Cli, typed: str, found: list[str]) -> None:
    talks(cli, "Garden", "日本語", "Größe", "Bread")
    with picker(cli, "chats") as screen:
        screen.type(typed)
        screen.wait_for("found")
        assert [title for title in listed(screen) if title in found] == found


def test_enter_at_once_after_typing_opens_what_was_typed_for(cli: Cli) -> None:
    wanted = talks(cli, "Rome", "Bread", "Garden")[0]
    with picker(cli, "chats") as screen:
        screen.type("rome" + ENTER)
        assert f"opened='{wanted}'" in result(screen)


def test_a_pasted_line_feed_opens_nothing(cli: Cli) -> None:
    talks(cli, "Rome")
    with picker(cli, "chats") as screen:
        screen.type("\x1b[200~ro\rme\r\x1b[201~")
        assert "ro me" in lines(screen)[0]
        assert screen.process.poll() is None


def test_colours_in_what_is_typed_do_no_harm(cli: Cli) -> None:
    talks(cli, "herons", "geese")
    with picker(cli, "chats") as screen:
        screen.type("her\x1b[31mons")
        screen.wait_for("herons ")
        screen.type(ENTER)
        assert screen.wait_for_exit() == 0
        assert "Press ENTER" not in screen.text


def test_a_long_title_keeps_its_distance_from_the_date(cli: Cli) -> None:
    (talk,) = talks(cli, "a" * 100)
    with Database.open(cli.database) as db:
        db.execute("UPDATE conversations SET updated_at = '2024-10-27T10:00:00.000Z' WHERE id = ?", (talk,))
    with picker(cli, "chats") as screen:
        assert "… 27 Oct 2024" in screen.text


def test_the_list_moves_by_lines_pages_and_to_its_ends(cli: Cli) -> None:
    talks(cli, *(f"Talk {number:03}" for number in range(50)))
    with picker(cli, "chats") as screen:
        screen.wait_for("   50\n")
        for keys, expected in (
            (DOWN * 3, 46), (UP, 47), (END, 0), (HOME, 49), (PAGE_DOWN, 39), (PAGE_DOWN, 29), (PAGE_UP, 39), (UP * 60, 49),
        ):  # fmt: skip
            screen.type(keys)
            assert selected(screen).startswith(f"Talk {expected:03}")
        assert lines(screen)[2] == " Today"


def test_a_conversation_is_renamed_in_the_picker(cli: Cli) -> None:
    first, second = talks(cli, "Rome", "Bread")
    with picker(cli, "chats") as screen:
        screen.type(CTRL_R)
        screen.wait_for("New title › Bread")
        screen.type(CTRL_U + ENTER)
        screen.wait_for("A title cannot be empty.")
        screen.type("Sourdough" + ENTER)
        screen.wait_for("Chats ›")
        assert listed(screen) == ["Sourdough", "Rome"]
        screen.type(DOWN + CTRL_R + " trip" + ESC)
        screen.wait_for("Chats ›")
        assert listed(screen) == ["Sourdough", "Rome"]
        screen.type(CTRL_C)
        assert f"renamed=('{second}',)" in result(screen)
    assert cli.rows("SELECT title FROM conversations ORDER BY seq") == [("Rome",), ("Sourdough",)]
    assert first != second


def test_renaming_keeps_the_filter(cli: Cli) -> None:
    talks(cli, "Rome", "Bread")
    with picker(cli, "chats") as screen:
        screen.type("rom" + CTRL_R)
        screen.wait_for("New title › Rome")
        screen.type(" trip" + ENTER)
        screen.wait_for("Chats › rom")
        screen.wait_for("Rome trip")
        assert listed(screen) == ["Rome trip"]


def test_deleting_moves_to_the_trash_and_undo_takes_back_one_by_one(cli: Cli) -> None:
    first, second, third = talks(cli, "One", "Two", "Three")
    with picker(cli, "chats") as screen:
        screen.type(CTRL_D)
        screen.wait_for("Deleted “Three”. Ctrl+Z takes it back.")
        assert listed(screen) == ["Two", "One"]
        screen.type(CTRL_D)
        screen.wait_for("Deleted “Two”.")
        screen.type(CTRL_Z)
        screen.wait_for("“Two” is back.")
        assert listed(screen) == ["Two", "One"]
        assert selected(screen).startswith("Two")
        screen.type(DOWN + CTRL_D)
        screen.wait_for("Deleted “One”.")
        screen.type(CTRL_C)
        assert f"deleted=('{third}', '{first}')" in result(screen)
    assert cli.rows("SELECT title FROM conversations WHERE deleted_at IS NOT NULL ORDER BY seq") == [
        ("One",),
        ("Three",),
    ]
    assert second


def test_deleting_all_leaves_an_empty_list_in_which_keys_do_no_harm(cli: Cli) -> None:
    talks(cli, "One")
    with picker(cli, "chats") as screen:
        screen.type(CTRL_D)
        screen.wait_for("No conversations.")
        screen.type(CTRL_D + CTRL_R + CTRL_F + CTRL_E + ENTER + DOWN + END)
        screen.settle()
        screen.type(CTRL_Z)
        screen.wait_for("“One” is back.")
        screen.type(CTRL_Z)
        screen.wait_for("Nothing was deleted.")


def test_deleting_while_filtered_takes_the_row_out_and_a_second_key_takes_the_next(cli: Cli) -> None:
    talks(cli, "Rome one", "Bread", "Rome two", "Rome three")
    with picker(cli, "chats") as screen:
        screen.type("rome" + CTRL_D + CTRL_D)
        screen.wait_for("Deleted “Rome two”")
        screen.wait_for("1 found")
        assert listed(screen) == ["Rome one"]


def test_a_fork_is_opened(cli: Cli) -> None:
    talks(cli, "Rome")
    with picker(cli, "chats") as screen:
        screen.type(CTRL_F)
        told = result(screen)
    [(forked,)] = cli.rows("SELECT id FROM conversations WHERE title = 'Rome (fork)'")
    assert f"opened='{forked}', is_fork=True" in told
    assert cli.rows("SELECT content FROM messages WHERE conversation_id = ? ORDER BY seq", forked) == [
        ("about Rome",), ("an answer on Rome",)
    ]  # fmt: skip


def test_export_says_where_it_wrote(cli: Cli) -> None:
    (talk,) = talks(cli, "Rome")
    with picker(cli, "chats") as screen:
        screen.type(CTRL_E)
        screen.wait_for(f"Written to {talk[:8]}.md.")


def test_the_current_conversation_is_marked_and_selected(cli: Cli) -> None:
    current = talks(cli, "One", "Two", "Three")[1]
    with picker(cli, "chats", current) as screen:
        assert selected(screen).startswith("• Two")


def test_the_preview_shows_facts_and_the_last_exchange_and_tab_hides_it(cli: Cli) -> None:
    talks(cli, "Rome")
    with picker(cli, "chats", columns=100, rows=40) as screen:
        screen.wait_for("an answer on Rome")
        assert "gpt-4o-mini · 2 messages" in screen.text
        assert "$0.000002" in screen.text
        assert "│ You" in screen.text
        screen.type(TAB)
        screen.wait_for(lambda text: "an answer on Rome" not in text)
        screen.type(TAB)
        screen.wait_for("an answer on Rome")


def test_the_preview_shows_the_place_of_a_match(cli: Cli) -> None:
    with Database.open(cli.database) as db:
        said(db, "tell me", "filler " * 2000 + "a rare zebra here. " + "filler " * 2000, title="Animals")
    with picker(cli, "chats", columns=100, rows=30) as screen:
        screen.type("zebra")
        screen.wait_for("1 found")
        screen.wait_for("rare zebra here")


def test_the_preview_is_below_on_a_narrow_screen_and_can_be_asked_for_on_a_small_one(cli: Cli) -> None:
    talks(cli, "Rome")
    with picker(cli, "chats", columns=80, rows=24) as screen:
        screen.wait_for("an answer on Rome")
    with picker(cli, "chats") as screen:
        assert "gpt-4o-mini" not in screen.settle()
        screen.type(TAB)
        screen.wait_for("gpt-4o-mini")
        assert listed(screen) == ["Rome"]


def test_help_shows_every_key_and_esc_closes_only_the_help(cli: Cli) -> None:
    talks(cli, "Rome")
    with picker(cli, "chats") as screen:
        screen.type(F1)
        for key in ("Ctrl+R", "Ctrl+F", "Ctrl+E", "Ctrl+D", "Ctrl+Z", "Esc"):
            screen.wait_for(key)
        screen.type(ESC)
        screen.wait_for("Rome")
        screen.type(F2)
        assert result(screen).startswith("ChatsResult(opened=None")


@pytest.mark.parametrize("size", [(60, 15), (20, 5), (100, 40), (10, 3), (200, 8)])
def test_hostile_titles_are_safe_at_every_size_and_columns_hold(cli: Cli, size: tuple[int, int]) -> None:
    talks(
        cli,
        "\x1b]0;owned\x07\x1b[2Jescape\nnew line\ttab",
        "\u202egnorw\u2066 direction \u200f",
        "👩‍👩‍👧‍👦👍🏽❤️🇩🇪 family and flags " * 3,
        "很长的中文标题" * 20,
        "e\u0301\u0301\u0301\u0301 accents",
        "",
        "x" * 500,
    )
    columns, rows = size
    program = (sys.executable, "-m", "tests.pty.pickers", "chats")
    with terminal(cli, columns=columns, rows=rows, program=program) as screen:
        screen.wait_for(lambda _: b"\x1b[?1049h" in screen.sent)
        for keys in (DOWN * 3, "a", ESC, F1, TAB, END):
            screen.type(keys)
            screen.settle(0.1)
        assert "owned" not in screen.text
        assert b"owned" not in screen.sent
        assert "\u202e" not in screen.text
        if columns >= 60:
            assert len({x for x in map(date_column, screen._screen.buffer.values()) if x}) == 1, screen.text
        screen.type(CTRL_C)
        assert screen.wait_for_exit() == 0


def test_a_resize_draws_everything_anew(cli: Cli) -> None:
    talks(cli, "Rome", "Bread")
    with picker(cli, "chats", columns=120, rows=30) as screen:
        screen.wait_for("an answer on Bread")
        screen.resize(60, 15)
        screen.wait_for(lambda text: "an answer on Bread" not in text and "Rome" in text)
        assert max(map(len, lines(screen))) <= 60


def test_a_database_that_cannot_be_written_is_read_and_says_why_it_does_not_change(cli: Cli) -> None:
    talks(cli, "Rome")
    cli.database.chmod(0o400)
    cli.database.parent.chmod(0o500)
    try:
        program = (*AS_ANYBODY, sys.executable, "-m", "tests.pty.pickers", "chats")
        with terminal(cli, columns=100, rows=15, program=program) as screen:
            screen.wait_for("Rome")
            for keys in (CTRL_D, CTRL_F, CTRL_R + "x" + ENTER):
                screen.type(DOWN)
                screen.wait_for(HINTS)
                screen.type(keys)
                screen.wait_for(lambda text: "cannot be written" in " ".join(text.split()))
            screen.type(ESC)
            screen.wait_for("Chats ›")
            screen.type(ENTER)
            assert "opened='" in result(screen)
    finally:
        cli.database.parent.chmod(0o700)
        cli.database.chmod(0o600)


def test_a_damaged_database_is_told_of_in_the_picker(cli: Cli) -> None:
    cli.database.write_bytes(b"not a database" * 1000)
    with (
        picker(cli, "chats", columns=100)
        if False
        else terminal(cli, columns=100, rows=15, program=(sys.executable, "-m", "tests.pty.pickers", "chats")) as screen
    ):
        screen.wait_for(lambda text: "not a database of aichat" in " ".join(text.split()))
        screen.type("x" + DOWN + ENTER + CTRL_D + CTRL_Z)
        screen.settle()
        screen.type(CTRL_C)
        assert result(screen).startswith("ChatsResult(opened=None")


def test_a_conversation_that_is_deleted_meanwhile_does_no_harm(cli: Cli) -> None:
    first, second = talks(cli, "One", "Two")
    with picker(cli, "chats", columns=100) as screen:
        screen.wait_for("Two")
        with Database.open(cli.database) as db:
            conversations.delete(db, second)
        screen.type(ENTER)
        screen.wait_for("There is no conversation")
        screen.type(DOWN + ENTER)
        assert f"opened='{first}'" in result(screen)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_picker_and_gives_the_terminal_back(cli: Cli, number: signal.Signals) -> None:
    talks(cli, "Rome")
    with picker(cli, "chats") as screen:
        screen.process.send_signal(number)
        screen.wait_for_exit()
        assert f"Interrupted: {int(number)}" in screen.text
        assert b"\x1b[?1049l" in screen.sent


def test_after_a_picker_the_signals_are_the_programs_again(cli: Cli) -> None:
    talks(cli, "Rome")
    with picker(cli, "chats", PICKERS_WAIT="1") as screen:
        screen.type(ESC)
        screen.wait_for("waiting")
        screen.process.send_signal(signal.SIGTERM)
        screen.wait_for_exit()
        assert f"Interrupted: {int(signal.SIGTERM)}" in screen.text


def test_a_model_is_chosen_by_words_of_its_name_or_provider(cli: Cli) -> None:
    with picker(cli, "models", columns=80, rows=24, ANTHROPIC_API_KEY="sk-ant-x") as screen:
        screen.wait_for(matching(r"Ready to use +\$/Mtok in +out +context"))
        screen.wait_for(matching(r" [1-9],\d\d\d"))
        assert "gpt-4o-mini" in selected(screen)
        screen.type("anthropic haiku-4-5")
        screen.wait_for("found")
        assert "✓ claude-haiku-4-5" in selected(screen)
        assert "200k" in selected(screen)
        screen.type(ENTER)
        assert result(screen) == "claude-haiku-4-5"


def test_models_say_what_is_retired_and_which_key_is_missing(cli: Cli) -> None:
    with picker(cli, "models", columns=120, rows=30) as screen:
        screen.type("claude-3.5-sonnet")
        screen.wait_for("retired: use claude-sonnet-5-5")
        screen.type(CTRL_U + "gpt-4o-mini")
        screen.wait_for("aichat keys set openai")
        screen.type(CTRL_U + "smollm2")
        screen.wait_for("free")
        assert "✓ smollm2" in screen.text


def test_a_stored_key_makes_its_models_ready(cli: Cli) -> None:
    assert cli.run("keys", "set", "anthropic", stdin="sk-ant-a-key").returncode == 0
    with picker(cli, "models", columns=80, rows=24) as screen:
        screen.type("claude-haiku-4-5")
        screen.wait_for("✓ claude-haiku-4-5")


def test_a_model_in_no_list_is_taken_by_its_name_and_an_unknown_one_is_refused(cli: Cli) -> None:
    with picker(cli, "models", columns=100, rows=24) as screen:
        screen.type("no-such-model" + ENTER)
        screen.wait_for('No model "no-such-model".')
        screen.type(CTRL_U + "openrouter/some/new-model" + ENTER)
        assert result(screen) == "openrouter/some/new-model"


def test_models_close_without_choosing(cli: Cli) -> None:
    for key in (ESC, CTRL_C, F3):
        with picker(cli, "models") as screen:
            screen.type(key)
            assert result(screen) == "None"


def test_a_switch_is_toggled_and_a_number_typed_with_its_own_refusal(cli: Cli) -> None:
    with picker(cli, "settings", columns=100, rows=30) as screen:
        screen.type("show_usage")
        screen.wait_for("as -u does")
        screen.type(ENTER)
        screen.wait_for("true")
        screen.type(CTRL_U + "attempts")
        screen.wait_for("retry.attempts")
        screen.type(ENTER)
        screen.wait_for("retry.attempts › 3")
        screen.type("0" + ENTER)
        screen.wait_for("it takes a whole number from 1 to 10")
        screen.type("\x7f\x7f5" + ENTER)
        screen.wait_for("Settings › attempts")
        screen.type(ESC + ESC)
        told = result(screen)
    assert "changed=('show_usage', 'retry.attempts')" in told
    assert "{'show_usage': True, 'retry.attempts': 5}" in told
    assert cli.config_file.read_text() == "show_usage = true\n\n[retry]\nattempts = 5\n"


def test_reset_brings_the_default_back_and_the_environment_comes_first(cli: Cli) -> None:
    cli.config_file.parent.mkdir(parents=True)
    cli.config_file.write_text('model = "haiku"\n')
    with picker(cli, "settings", columns=100, rows=30, AICHAT_SHOW_USAGE="1") as screen:
        assert re.search(r"show_usage +true +environment", screen.settle())
        screen.type(CTRL_R)
        screen.wait_for(matching(r"model +\(empty\) +default"))
        screen.type("show_usage" + ENTER)
        screen.wait_for("Stored, but AICHAT_SHOW_USAGE is set and comes first.")
    assert cli.config_file.read_text() == "show_usage = false\n"


def test_a_setting_that_cannot_be_used_is_shown_and_can_be_corrected(cli: Cli) -> None:
    cli.config_file.parent.mkdir(parents=True)
    cli.config_file.write_text("show_usage = 7\n")
    with picker(cli, "settings", columns=100, rows=30) as screen:
        screen.wait_for("not usable")
        screen.type("show_usage" + CTRL_R)
        screen.wait_for(matching(r"show_usage +false +default"))


def branching(cli: Cli) -> None:
    with Database.open(cli.database) as db:
        first = said(db, "How do I make bread?", "Mix flour and water.", title="Bread")
        talk = first.conversation_id
        said(db, "Without yeast?", "Use soda.", conversation_id=talk, parent_id=first.message_id)
        said(db, "With sourdough?", "Feed it daily.", conversation_id=talk, parent_id=first.message_id)


def test_branches_are_a_picture_in_which_the_one_in_use_is_marked(cli: Cli) -> None:
    branching(cli)
    with picker(cli, "branches") as screen:
        assert lines(screen)[2:8] == [
            " ● you  How do I make bread?",
            " ● ai   Mix flour and water.",
            " ├─○ you  Without yeast?",
            " │ ○ ai   Use soda.",
            " ● you  With sourdough?",
            " ◆ ai   Feed it daily.",
        ]
        assert "Feed it daily." in selected(screen)


def test_a_chosen_question_goes_on_from_its_answer_and_ctrl_t_moves_to_branches(cli: Cli) -> None:
    branching(cli)
    [(soda,)] = cli.rows("SELECT id FROM messages WHERE content = 'Use soda.'")
    with picker(cli, "branches", columns=100) as screen:
        screen.type(CTRL_T)
        assert "Without yeast?" in selected(screen)
        screen.type(ENTER)
        assert result(screen) == soda


def test_branches_are_filtered_and_previewed(cli: Cli) -> None:
    branching(cli)
    with picker(cli, "branches", columns=100, rows=24) as screen:
        screen.type("soda")
        screen.wait_for("1 found")
        screen.wait_for("$0.000002")


def test_ten_thousand_messages_in_one_conversation_are_drawn(cli: Cli) -> None:
    with Database.open(cli.database) as db:
        turn = said(db)
        now = utc_now()
        db.execute(
            "INSERT INTO messages (id, conversation_id, parent_id, role, content, status, created_at, updated_at)"
            " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
            " SELECT 'm' || i, ?, CASE i WHEN 1 THEN ? ELSE 'm' || (i - 1) END, 'user', 'text ' || i, 'complete', ?, ?"
            " FROM n",
            (turn.conversation_id, turn.message_id, now, now),
        )
        db.execute("UPDATE conversations SET head_id = 'm10000'")
    with picker(cli, "branches") as screen:
        assert "text 10000" in selected(screen)
        screen.type(HOME)
        assert "hello" in selected(screen)
        screen.type("text 5000")
        screen.wait_for("1 found")

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.pty.terminal import terminal
from tests.runner import PROGRAM, Cli
from tests.servers.scripted import ScriptedServer


def test_an_empty_history_says_how_to_begin(cli: Cli) -> None:
    done = cli.run("history", "list")

    assert (done.returncode, done.stdout) == (0, b"")
    assert b'aichat "your question"' in done.stderr
    assert cli.json("history", "list") == []


def test_history_lists_shows_searches_renames_and_deletes(cli: Cli, server: ScriptedServer) -> None:
    cli.run("-s", "be brief", "about herons")
    cli.run("about geese")

    listed = cli.json("history", "list")
    assert [row["title"] for row in listed] == ["about geese", "about herons"]
    assert set(listed[0]) == {"id", "title", "model", "created_at", "updated_at", "messages"}
    assert [row["title"] for row in cli.json("history", "list", "--limit", "1")] == ["about geese"]

    shown = cli.json("history", "show", "herons")
    assert (shown["title"], shown["system_prompt"]) == ("about herons", "be brief")
    assert [(m["role"], m["content"]) for m in shown["messages"]] == [
        ("user", "about herons"),
        ("assistant", "You said: about herons"),
    ]
    assert set(shown["messages"][0]) == {
        "id", "parent_id", "role", "content", "reasoning", "status", "error", "model", "input_tokens", "output_tokens", "cost_usd",
        "created_at", "attachments", "sources",
    }  # fmt: skip

    hits = cli.json("history", "search", "heron")
    assert {hit["title"] for hit in hits} == {"about herons"}
    assert set(hits[0]) >= {"conversation_id", "message_id", "title", "role", "snippet", "created_at"}

    assert cli.run("history", "rename", "herons", "Long", "legs").returncode == 0
    assert cli.run("history", "rename", "geese", " ").returncode == 2
    assert cli.run("history", "rm", "Long legs").returncode == 2
    assert cli.run("history", "rm", "--yes", "Long legs").returncode == 0
    assert [row["title"] for row in cli.json("history", "list")] == ["about geese"]
    assert cli.json("history", "search", "herons") == []
    assert cli.rows("SELECT count(*) FROM usage") == [(2,)]


def test_history_in_a_pipe_is_tab_separated_and_in_full(cli: Cli, server: ScriptedServer) -> None:
    cli.run("a question " + "that is long " * 10)

    line = cli.run("history", "list").stdout.decode()

    assert len(line.rstrip("\n").split("\t")) == 5


def test_history_show_prints_the_conversation_safely(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "an answer \x1b]0;evil\x07with more"}
    cli.run("a question")
    with terminal(cli, "history", "show", "a question") as screen:
        assert screen.wait_for_exit() == 0

    assert b"\x1b" not in re.sub(rb"\x1b\[[0-9;]*m", b"", screen.sent)  # but for our own colours
    assert "an answer with more" in screen.text
    assert "a question" in screen.text


def test_titles_and_models_cannot_smuggle_control_sequences(cli: Cli, server: ScriptedServer) -> None:
    cli.run("\x1b]0;evil\x07title\u202e \x9b2J")
    for arguments in (["history", "list"], ["history", "search", "title"], ["-c", "-m", "bad\x1b]0;x\x07name", "hi"]):
        with terminal(cli, *arguments) as screen:
            screen.wait_for_exit()
        assert b"evil\x07" not in screen.sent
        assert b"\x1b]" not in screen.sent
        assert "\u202e".encode() not in screen.sent
        assert "\x9b".encode() not in screen.sent


def test_a_deletion_is_asked_for_on_a_terminal(cli: Cli, server: ScriptedServer) -> None:
    cli.run("about herons")
    with terminal(cli, "history", "rm", "herons") as screen:
        screen.wait_for("Delete")
        screen.type("n\r")
        screen.wait_for("Nothing was deleted.")
    with terminal(cli, "history", "rm", "herons") as screen:
        screen.wait_for("Delete")
        screen.type("y\r")
        screen.wait_for("Deleted")

    assert cli.json("history", "list") == []


def test_an_unknown_conversation_is_an_error_that_says_where_to_look(cli: Cli, server: ScriptedServer) -> None:
    done = cli.run("history", "show", "nothing-like-this")

    assert done.returncode == 1
    assert b"aichat history list" in done.stderr


def test_models_are_listed_with_prices(cli: Cli) -> None:
    listed = {row["name"]: row for row in cli.json("models", "list")}

    assert (listed["gpt-4o"]["input_usd_per_mtok"], listed["gpt-4o"]["output_usd_per_mtok"]) == (2.5, 10)
    assert listed["claude-3.5-sonnet"]["retired"] is True
    assert len(cli.json("models", "list", "--all")) > 1000
    assert all("groq" in row["name"] or row["provider"] == "groq" for row in cli.json("models", "list", "groq"))
    info = cli.run("models", "info", "gpt-4o-mini").stdout.decode()
    assert "$0.15 per million" in info
    assert "128,000" in info


def test_a_model_of_your_own_is_added_used_and_forgotten(cli: Cli, server: ScriptedServer) -> None:
    cli.environ = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
    url = server.openai_url
    added = cli.run(
        "models", "add", "mine", "--base-url", url, "--model-id", "llama-x", "--input-price", "1", "--output-price", "2"
    )
    assert added.returncode == 0, added.stderr

    assert cli.run("-m", "mine", "hello").stdout == b"You said: hello"
    assert server.requests[0].body["model"] == "llama-x"
    assert "authorization" not in server.requests[0].headers
    assert cli.rows("SELECT model, cost_nano FROM usage") == [("mine", 1 * 1000 + 3 * 2000)]
    assert cli.run("models", "rm", "mine").returncode == 0
    assert cli.run("-m", "mine", "hello").returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["mine", "--base-url", "not a url"],
        ["mine", "--base-url", "ftp://x"],
        ["mine", "--base-url", "http://x/v1", "--input-price", "-1", "--output-price", "1"],
        ["mine", "--base-url", "http://x/v1", "--input-price", "1"],
        ["mine", "--base-url", "http://x/v1", "--wire", "smoke"],
    ],
)
def test_a_model_that_cannot_be_is_not_added(cli: Cli, arguments: list[str]) -> None:
    done = cli.run("models", "add", *arguments)

    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    assert not cli.config_file.exists()


def test_an_anthropic_endpoint_of_your_own_speaks_its_protocol(cli: Cli, server: ScriptedServer) -> None:
    cli.run(
        "models", "add", "mine", "--base-url", server.anthropic_url, "--wire", "anthropic", "--key-name", "anthropic"
    )

    assert cli.run("-m", "mine", "hello").stdout == b"You said: hello"
    assert server.requests[0].path == "/v1/messages"


def test_an_alias_and_a_default_are_kept(cli: Cli, server: ScriptedServer) -> None:
    assert cli.run("models", "alias", "fast", "gpt-4o-mini").returncode == 0
    assert cli.run("models", "default", "fast").returncode == 0
    assert cli.run("models", "default").stdout == b"gpt-4o-mini\n"

    cli.run("hello")
    assert server.requests[0].body["model"] == "gpt-4o-mini"

    assert b"fast" in cli.run("models", "alias").stdout
    assert cli.run("models", "alias", "fast", "--remove").returncode == 0
    assert cli.run("models", "default", "no-such-model!").returncode in {0, 2}


@pytest.mark.parametrize(
    ("keys", "model"),
    [
        ({"OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "x"}, "gpt-4o-mini"),
        ({"ANTHROPIC_API_KEY": "x"}, "claude-haiku-4-5"),
        ({}, "smollm2"),
    ],
)
def test_the_default_model_follows_the_keys(cli: Cli, keys: dict[str, str], model: str) -> None:
    assert cli.run("models", "default", environ=keys).stdout.decode() == f"{model}\n"


def test_settings_are_set_listed_with_their_source_and_unset(cli: Cli) -> None:
    assert cli.run("config", "get", "retry.attempts").stdout == b"3\n"
    assert cli.run("config", "set", "retry.attempts", "5").returncode == 0
    assert cli.run("config", "get", "retry.attempts").stdout == b"5\n"
    rows = {row["name"]: row for row in cli.json("config", "list")}
    assert (rows["retry.attempts"]["value"], rows["retry.attempts"]["source"]) == (5, str(cli.config_file))
    assert rows["model"]["source"] == "default"
    assert cli.run("config", "unset", "retry.attempts").returncode == 0
    assert cli.run("config", "get", "retry.attempts").stdout == b"3\n"
    assert cli.run("config", "path").stdout.decode().strip() == str(cli.config_file)
    assert cli.run("config", "set", "retry.attempts", "many").returncode == 2
    assert cli.run("config", "get", "retry.attempt").returncode == 1


def test_a_broken_settings_file_is_one_line_and_edit_still_opens_it(cli: Cli) -> None:
    cli.config_file.parent.mkdir(parents=True)
    cli.config_file.write_text("model = \n")

    done = cli.run("hello")
    edited = cli.run("config", "edit", environ={"EDITOR": "sed -i s/.*/model=\\'gpt-4o\\'/"})

    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"config.toml is not valid TOML" in done.stderr
    assert edited.returncode == 0, edited.stderr
    assert cli.run("config", "get", "model").stdout == b"gpt-4o\n"


def test_edit_says_what_the_editor_broke(cli: Cli) -> None:
    broken = cli.run("config", "edit", environ={"EDITOR": "sed -i s/.*/[[/"})
    absent = cli.run("config", "edit", environ={"EDITOR": "no-such-editor", "VISUAL": ""})
    failing = cli.run("config", "edit", environ={"EDITOR": "false"})

    assert [broken.returncode, absent.returncode, failing.returncode] == [1, 1, 1]


def test_doctor_says_what_is_there_and_what_to_do_about_the_rest(cli: Cli) -> None:
    done = cli.run("doctor")
    rows = {row["subject"]: row for row in cli.json("doctor")}

    assert done.returncode == 0, done.stdout
    assert rows["keys"]["state"] == "missing"
    assert "helicone" not in rows
    assert "aichat keys set openai" in rows["keys"]["detail"]
    assert rows["database"]["state"] == "ok"
    assert rows["prices"]["state"] == "ok"
    assert rows["default model"]["detail"] == "smollm2"


def test_doctor_finds_a_corrupt_database_and_ends_with_1(cli: Cli) -> None:
    cli.database.write_bytes(b"not a database " * 100)

    done = cli.run("doctor")

    assert done.returncode == 1
    assert re.search(rb"BROKEN +database", done.stdout)


def test_listings_fit_a_terminal_of_sixty_columns(cli: Cli, server: ScriptedServer) -> None:
    cli.run("a long question about " + "many things " * 20)
    for arguments in (
        ["history", "list"],
        ["models", "list", "--limit", "5"],
        ["config", "list"],
        ["history", "search", "long"],
    ):
        with terminal(cli, *arguments, columns=60) as screen:
            assert screen.wait_for_exit() == 0
        assert max(len(line) for line in screen.text.splitlines()) <= 60


def test_a_command_group_alone_shows_its_help(cli: Cli) -> None:
    for group in ("history", "models", "keys", "config"):
        done = cli.run(group)
        assert b"Usage:" in done.stdout + done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-flag"],
        ["-m"],
        ["history", "nonsense"],
        ["history", "list", "--limit", "0"],
        ["-o", "x"],
        ["-c", "-r", "x", "hi"],
        ["-n", "-c", "hi"],
    ],
)
def test_a_wrong_command_line_ends_with_2_and_one_line(cli: Cli, server: ScriptedServer, arguments: list[str]) -> None:
    cli.run("first")

    done = cli.run(*arguments)

    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1, done.stderr
    assert b"Traceback" not in done.stderr


def test_a_group_alone_prints_its_help_laid_out(cli: Cli) -> None:
    done = cli.run("history")

    assert done.returncode == 2
    assert done.stdout.count(b"\n") > 8
    assert b"  rename  " in done.stdout


@pytest.mark.parametrize("columns", [60, 80])
def test_names_and_ids_are_whole_on_a_narrow_terminal(cli: Cli, server: ScriptedServer, columns: int) -> None:
    cli.run("a long question about " + "many things " * 20)
    cli.run("config", "set", "system_prompt", "word " * 60)
    identifier = cli.json("history", "list")[0]["id"]
    expected = {
        ("history", "list"): identifier[:13],
        ("history", "search", "question"): identifier[:13],
        ("models", "list"): "gpt-4o-mini",
        ("config", "list"): "timeouts.first_byte",
    }
    for arguments, name in expected.items():
        with terminal(cli, *arguments, columns=columns, rows=90) as screen:
            assert screen.wait_for_exit() == 0
        assert name in screen.text
        assert max(len(line) for line in screen.text.splitlines()) <= columns


def test_a_terminal_that_is_not_utf8_gets_its_tables(cli: Cli, server: ScriptedServer) -> None:
    cli.run("Grüße an 漢字")
    with terminal(cli, "history", "list", PYTHONIOENCODING="ascii", LC_ALL="C") as screen:
        assert screen.wait_for_exit() == 0

    assert "Grüße" in screen.text


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        ("timeouts = 5", ["config", "set", "timeouts.connect", "3"]),
        ("timeouts = 5", ["config", "list"]),
        ("models = 3", ["models", "add", "l", "--base-url", "http://x/v1"]),
        ("models = 3", ["models", "rm", "l"]),
        ("aliases = 3", ["models", "alias", "a", "gpt-4o"]),
    ],
)
def test_settings_of_the_wrong_kind_are_one_clear_line(cli: Cli, content: str, arguments: list[str]) -> None:
    cli.config_file.parent.mkdir(parents=True)
    cli.config_file.write_text(content + "\n")

    done = cli.run(*arguments)

    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"is not a table" in done.stderr
    assert cli.config_file.read_text() == content + "\n"


def test_a_linked_settings_file_stays_a_link(cli: Cli) -> None:
    real = cli.home / "dotfiles.toml"
    real.write_text("# mine\n")
    cli.config_file.parent.mkdir(parents=True)
    cli.config_file.symlink_to(real)

    cli.run("config", "set", "model", "gpt-4o")

    assert cli.config_file.is_symlink()
    assert real.read_text() == '# mine\nmodel = "gpt-4o"\n'


@pytest.mark.parametrize(
    "arguments",
    [["config", "set", "system_prompt"], ["keys", "rm"], ["history", "search"], ["-m"], ["models", "alias", "a"]],
)
def test_an_argument_that_is_not_utf8_is_no_traceback(cli: Cli, arguments: list[str]) -> None:
    done = subprocess.run(
        [*PROGRAM, *arguments, b"\xff"], env=cli.environment, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )

    assert b"Traceback" not in done.stderr
    assert b"defect" not in done.stderr


def test_a_file_as_default_model_is_kept_by_its_whole_path(cli: Cli, tmp_path: Path) -> None:
    cli.run("models", "default", "here.gguf")

    assert cli.run("config", "get", "model").stdout.decode().startswith("/")


def test_a_resumed_conversation_keeps_the_model_it_was_last_asked_with(cli: Cli, server: ScriptedServer) -> None:
    cli.run("-m", "gpt-4o", "one")
    cli.run("-c", "-m", "claude-haiku-4-5", "two")
    cli.run("-c", "three")

    assert [request.body["model"] for request in server.requests] == ["gpt-4o", "claude-haiku-4-5", "claude-haiku-4-5"]


def test_the_error_of_a_failed_turn_is_shown_in_the_history(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"status": 400, "error": {"message": "the reason"}}
    cli.run("hello")

    assert b"the reason" in cli.run("history", "show", "hello").stdout
    assert "the reason" in cli.json("history", "show", "hello")["messages"][1]["error"]


def test_a_password_in_a_url_is_not_shown(cli: Cli) -> None:
    info = cli.run("models", "info", "gpt-4o", environ={"OPENAI_BASE_URL": "http://me:s3cret@127.0.0.1:9/v1"})
    wrong = cli.run("models", "info", "gpt-4o", environ={"OPENAI_BASE_URL": "ftp://me:s3cret@127.0.0.1:9/v1"})

    assert b"***@127.0.0.1:9" in info.stdout
    assert b"s3cret" not in info.stdout + info.stderr + wrong.stdout + wrong.stderr

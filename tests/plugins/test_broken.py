"""Packages that are broken: one clear error for what needs them, and no harm to anything else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.config import plugins
from aichat_cli.core.errors import AichatError, ConfigError, DocumentError, ProviderError, StreamBroken
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.models import Model
from aichat_cli.documents.loading.loader import Loader
from aichat_cli.documents.plugged_vectors import StoreSurroundings, open_store
from aichat_cli.providers import plugged
from aichat_cli.providers.base import ChatRequest
from aichat_cli.providers.registry import Registry
from tests.plugins.packages import on_path, write_package
from tests.runner import ROOT, Cli

WRONG = """
import sys
import time
import numpy
from aichat_cli.plugins import *

class Base:
    def stream(self, request):
        kind = request.model.wire_name
        if kind == "odd":
            return 5
        return self.events(kind)

    def events(self, kind):
        print("not an answer")
        if kind == "early":
            raise ValueError("sk-secret")
        if kind == "exit":
            sys.exit(3)
        yield TextDelta("half")
        if kind == "late":
            raise ValueError("sk-secret")
        if kind == "junk":
            yield "text"
        if kind == "endless":
            return
        yield Finished("stop")

    def warm(self, model, timeouts):
        raise ValueError
    close = warm

provider = ProviderPlugin(Base)
priced = ProviderPlugin(Base, models=(OfferedModel("odd", input_usd_per_mtok=-1, output_usd_per_mtok=1),))
nothing = None

def raises(given):
    raise ValueError("sk-secret")

def hangs(given):
    time.sleep(100)

def text(content):
    return "text"

def outside(content):
    return LoadedDocument("text", "text/plain", headings=(Heading(9, 1, "x"),))

class Late(Observer):
    def __init__(self, surroundings):
        print("printed")
    def deliveries(self, turn):
        print("printed")
        assert turn.books is None
        return [Delivery(turn.id, b"{}")]
    def deliver(self, deliveries):
        sys.exit("sk-secret")

class Slow(Late):
    def deliveries(self, turn):
        time.sleep(100)

class Junk(Late):
    def deliveries(self, turn):
        return ["junk"]

class Store:
    def __init__(self, surroundings):
        pass
    def add(self, chunk_seqs, vectors):
        raise ValueError("sk-secret")
    remove = settle = count = maintain = seqs = clear = add
    def nearest(self, query, limit):
        return [(1, 2)]
"""
ENTRIES = {
    plugins.PROVIDERS: {
        "bad": "provider",
        "odd": "nothing",
        "lost": "missing",
        "twice": "provider",
        "openai": "nothing",
    }
    | {"priced": "priced"},
    plugins.OBSERVERS: {"late": "Late", "slow": "Slow", "junk": "Junk", "raises": "raises", "langsmith": "raises"},
    plugins.LOADERS: {"raises": "raises", "plain": "text", "outside": "outside", "pdf": "raises", "none": "nothing"},
    plugins.VECTOR_STORES: {"store": "Store", "raises": "raises", "none": "nothing"},
}
BROKEN = "import os\nopen(os.environ['AICHAT_SEEN'], 'w').close()\nraise RuntimeError('sk-secret')\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where they are installed."""
    folder = tmp_path_factory.mktemp("broken")
    write_package(folder, "wrong", ENTRIES, WRONG)
    write_package(folder, "broken", {group: {"unloadable": "x"} for group in plugins.GROUPS}, BROKEN)
    write_package(folder, "other", {plugins.PROVIDERS: {"twice": "provider"}}, "")
    unreadable = folder / "unreadable-1.0.dist-info"
    unreadable.mkdir()
    (unreadable / "entry_points.txt").write_text(f"[{plugins.PROVIDERS}]\nno target\n", "utf-8")
    return folder


@pytest.fixture
def here(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this process."""
    monkeypatch.setenv("AICHAT_SEEN", str(tmp_path / "seen"))
    with on_path(site):
        yield


@pytest.fixture
def among_them(cli: Cli, site: Path, tmp_path: Path) -> Cli:
    """The program where they are installed."""
    cli.environ |= {"PYTHONPATH": f"{ROOT}:{site}", "AICHAT_SEEN": str(tmp_path / "seen")}
    return cli


def resolved(name: str) -> Model:
    return Registry({}, {}, {}, Path("/nowhere")).resolve(name)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unloadable", 'The provider "unloadable" of the package broken 1.0 cannot be loaded: RuntimeError.'),
        ("lost", 'The provider "lost" of the package wrong 1.0 cannot be loaded: AttributeError.'),
        ("odd", 'The provider "odd" of the package wrong 1.0 is no ProviderPlugin, but NoneType.'),
        ("twice", 'both add a provider "twice".'),
    ],
)
def test_a_provider_that_cannot_be_had_is_told_in_one_error(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as told:
        resolved(f"{name}/model")
    assert message in told.value.message
    assert "pip uninstall" in (told.value.hint or "")
    assert "secret" not in str(told.value)
    if name == "twice":
        assert {"other", "wrong"} <= set(told.value.message.split())


@pytest.mark.usefixtures("here")
def test_ours_win() -> None:
    assert resolved("openai/gpt-4o-mini").wire == "openai"
    with Loader() as loader, pytest.raises(DocumentError, match="no pdf file begins so"):
        loader.load(b"text", "x.pdf")


@pytest.mark.usefixtures("here")
def test_a_price_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="priced/odd"):
        resolved("priced/odd")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("odd", ProviderError, "failed: TypeError"),
        ("early", ProviderError, "failed: ValueError"),
        ("exit", ProviderError, "failed: SystemExit"),
        ("late", StreamBroken, "failed: ValueError"),
        ("junk", StreamBroken, "gave no event, but str"),
        ("endless", StreamBroken, "without Finished"),
    ],
)
def test_a_provider_that_fails_is_told_as_one(
    kind: str, error: type[AichatError], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    provider = plugged.opened("bad")
    request = ChatRequest(resolved(f"bad/{kind}"), (ChatMessage("user", "hello"),))
    with pytest.raises(error, match=message) as told:
        list(provider.stream(request))
    assert type(told.value) is error
    assert "secret" not in str(told.value)
    provider.warm(request.model, request.timeouts)
    provider.close()
    assert "not an answer" not in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_a_loader_that_fails_fails_one_file() -> None:
    reasons = {}
    with Loader() as loader:
        worker_sees = pytest.MonkeyPatch()
        worker_sees.setenv("PYTHONPATH", sys.path[0])
        for suffix in ("raises", "plain", "outside", "none", "unloadable"):
            with pytest.raises(DocumentError) as told:
                loader.load(b"content", f"file.{suffix}")
            reasons[suffix] = told.value.message.partition(" 1.0 ")[2]
        assert loader.load(b"content", "file.txt").text == "content"
        worker_sees.undo()
    assert reasons == {
        "raises": "failed on it: ValueError.",
        "plain": "is no loader: what it gives is no LoadedDocument, but str.",
        "outside": "gave a document whose headings, pages, kind or notes cannot be.",
        "none": "is no function, but NoneType.",
        "unloadable": "cannot be loaded: RuntimeError.",
    }


@pytest.mark.usefixtures("here")
def test_a_store_that_fails_is_told_as_one(tmp_path: Path) -> None:
    import numpy as np

    surroundings = StoreSurroundings("one", 2, tmp_path)
    store = open_store("store", surroundings)
    calls: list[Any] = [
        lambda: open_store("raises", surroundings),
        lambda: open_store("none", surroundings),
        lambda: open_store("unloadable", surroundings),
        lambda: store.add([1], np.ones((1, 2), np.float32)),
        store.count,
        lambda: store.nearest(np.ones((1, 2), np.float32), 1),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=r"The vector store .* of the package (wrong|broken) 1\.0 ") as told:
            call()
        assert "secret" not in str(told.value)


def test_observers_that_fail_hang_or_print_leave_the_turn_as_it_is(among_them: Cli, server: object) -> None:
    among_them.environ["AICHAT_INTEGRATIONS"] = "late,slow,junk,raises,unloadable,nosuch"
    began = time.monotonic()
    done = among_them.run("-m", "gpt-4o-mini", "is all well?")
    assert time.monotonic() - began < 20
    assert (done.returncode, done.stdout) == (0, b"You said: is all well?")
    told = done.stderr.decode()
    assert "Traceback" not in told
    assert "secret" not in told
    for line in (
        'The observer "late" of the package wrong 1.0 failed: SystemExit.',
        'The observer "slow" took longer than 1 s for a turn',
        'The observer "junk" of the package wrong 1.0 is no observer: what it gives is no Delivery, but str.',
        'The observer "raises" of the package wrong 1.0 cannot be made: ValueError.',
        'The observer "unloadable" of the package broken 1.0 cannot be loaded: RuntimeError.',
        'There is no integration "nosuch"',
    ):
        assert told.count(line) == 1, (line, told)
    assert among_them.rows("SELECT status FROM messages WHERE role = 'assistant'") == [("complete",)]


def test_what_does_not_use_them_does_not_load_them(among_them: Cli, server: object, tmp_path: Path) -> None:
    done = among_them.run("-m", "gpt-4o-mini", "is all well?")
    assert (done.returncode, done.stderr) == (0, b"")
    assert not (tmp_path / "seen").exists()


def test_a_listing_tells_of_them_and_goes_on(among_them: Cli) -> None:
    listed = among_them.run("models", "list")
    assert listed.returncode == 0
    assert b"gpt-4o-mini" in listed.stdout
    told = listed.stderr.decode()
    for name in ("unloadable", "lost", "odd", "twice"):
        assert told.count(f'provider "{name}"') == 1, told
    assert "Traceback" not in told

from __future__ import annotations

from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.core.errors import RequestRejected, UsageError
from aichat_cli.core.messages import Attachment, ChatMessage
from aichat_cli.core.models import Wire
from aichat_cli.providers.anthropic_wire import AnthropicWire
from aichat_cli.providers.base import ChatRequest
from aichat_cli.providers.litellm_bridge import LiteLLMBridge
from aichat_cli.providers.local_model import LocalModel
from aichat_cli.providers.openai_wire import OpenAIWire
from aichat_cli.providers.shipped import local_model
from tests.chat.files import MP3, PDF, PNG, WAV
from tests.providers.calls import outcome, request_to
from tests.servers.scripted import ScriptedServer

IMAGE = Attachment("photo.png", "image/png", PNG)
REPORT = Attachment("report.pdf", "application/pdf", PDF)
TALK = Attachment("talk.wav", "audio/wav", WAV)
SONG = Attachment("song.mp3", "audio/mpeg", MP3)
ARCHIVE = Attachment("a.zip", "application/zip", b"PK")


def b64(attachment: Attachment) -> str:
    return b64encode(attachment.content).decode()


def sent(server: ScriptedServer, dialect: Wire, *messages: ChatMessage) -> list[dict[str, Any]]:
    server.script = {"text": "a"}
    with closing(AnthropicWire() if dialect == "anthropic" else OpenAIWire()) as wire:
        result = outcome(wire, request_to(server, dialect, messages=messages))
    assert result.error is None
    asked: list[dict[str, Any]] = server.requests[-1].body["messages"]
    return asked


def test_openai_is_sent_each_kind_of_file_in_its_own_part(server: ScriptedServer) -> None:
    message = ChatMessage("user", "what are these?", (IMAGE, REPORT, TALK, SONG))

    assert sent(server, "openai", message) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "photo.png:"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64(IMAGE)}"}},
                {"type": "text", "text": "report.pdf:"},
                {
                    "type": "file",
                    "file": {"filename": "report.pdf", "file_data": f"data:application/pdf;base64,{b64(REPORT)}"},
                },
                {"type": "text", "text": "talk.wav:"},
                {"type": "input_audio", "input_audio": {"data": b64(TALK), "format": "wav"}},
                {"type": "text", "text": "song.mp3:"},
                {"type": "input_audio", "input_audio": {"data": b64(SONG), "format": "mp3"}},
                {"type": "text", "text": "what are these?"},
            ],
        }
    ]


def test_anthropic_is_sent_images_and_documents_as_blocks(server: ScriptedServer) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(IMAGE)}}
    report = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": b64(REPORT)}}

    assert sent(server, "anthropic", ChatMessage("user", "what?", (IMAGE,)), ChatMessage("user", "", (REPORT,))) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "photo.png:"},
                image,
                {"type": "text", "text": "report.pdf:"},
                report,
                {"type": "text", "text": "what?"},
            ],
        }
    ]


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_one_file_is_not_named_and_a_message_without_words_is_the_file_alone(
    dialect: Wire, server: ScriptedServer
) -> None:
    [message] = sent(server, dialect, ChatMessage("user", " ", (IMAGE,)))
    assert len(message["content"]) == 1


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_message_without_files_is_a_plain_text_also_next_to_one_with_files(
    dialect: Wire, server: ScriptedServer
) -> None:
    asked = (ChatMessage("user", "what?", (IMAGE,)), ChatMessage("assistant", "a dot"), ChatMessage("user", "sure?"))

    contents = [message["content"] for message in sent(server, dialect, *asked)]

    assert contents[1:] == ["a dot", "sure?"]


@pytest.mark.parametrize(("dialect", "file"), [("openai", ARCHIVE), ("anthropic", ARCHIVE), ("anthropic", TALK)])
def test_a_file_that_a_wire_has_no_part_for_is_refused_before_it_is_sent(
    dialect: Wire, file: Attachment, server: ScriptedServer
) -> None:
    with closing(AnthropicWire() if dialect == "anthropic" else OpenAIWire()) as wire:
        result = outcome(wire, request_to(server, dialect, messages=(ChatMessage("user", "what?", (file,)),)))
    assert isinstance(result.error, UsageError)
    assert f"{file.name} is {file.media_type}, which cannot be sent" in result.error.message
    assert server.requests == []


@pytest.mark.xdist_group("litellm")
def test_litellm_refuses_the_same_file_the_same_way(server: ScriptedServer) -> None:
    with closing(LiteLLMBridge()) as wire:
        asked = request_to(server, "litellm", messages=(ChatMessage("user", "what?", (ARCHIVE,)),))
        result = outcome(wire, asked)
    assert isinstance(result.error, UsageError)


def test_the_embedded_model_refuses_files_without_being_started(tmp_path: Path) -> None:
    request = ChatRequest(local_model("smollm2", "smollm2"), (ChatMessage("user", "what?", (IMAGE,)),))

    result = outcome(LocalModel(tmp_path), request)

    assert isinstance(result.error, RequestRejected)
    assert result.error.message == "smollm2 runs on this machine and reads text only, not photo.png."

"""The wire of each protocol, imported when it is wanted."""

from __future__ import annotations

from pathlib import Path

from aichat_cli.core.models import Model
from aichat_cli.providers.base import Provider


def open_wire(model: Model, model_dir: Path, *, threads: int) -> Provider:
    """A wire of one's own that serves a model; close it. The folder and the number of threads are for the embedded one."""
    wire = model.wire
    if wire == "plugin":
        from aichat_cli.providers.plugged import opened

        return opened(model.provider)
    if wire == "local":
        from aichat_cli.providers.local_model import LocalModel

        return LocalModel(model_dir, threads=threads)
    if wire == "litellm":
        from aichat_cli.providers.litellm_bridge import LiteLLMBridge

        return LiteLLMBridge()
    if wire == "anthropic":
        from aichat_cli.providers.anthropic_wire import AnthropicWire

        return AnthropicWire()
    from aichat_cli.providers.openai_wire import OpenAIWire

    return OpenAIWire()

"""The wire of each protocol, imported when it is wanted."""

from __future__ import annotations

from pathlib import Path

from aichat_cli.core.models import Wire
from aichat_cli.providers.base import Provider


def open_wire(wire: Wire, model_dir: Path, *, threads: int) -> Provider:
    """A wire of one's own; close it. The folder and the number of threads are for the embedded model."""
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

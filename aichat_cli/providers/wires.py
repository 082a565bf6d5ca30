"""The wire of each protocol, imported when it is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aichat_cli.core.models import Model
from aichat_cli.providers.base import Provider

if TYPE_CHECKING:
    from aichat_cli.providers.helicone import Helicone


def open_wire(
    model: Model, model_dir: Path, *, threads: int, helicone: Callable[[], Helicone | None] = lambda: None
) -> Provider:
    """A wire of one's own that serves a model; close it. The folder and the number of threads are for the embedded model,
    `helicone` is for the direct wires.
    """
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

        return AnthropicWire(helicone)
    from aichat_cli.providers.openai_wire import OpenAIWire

    return OpenAIWire(helicone)

"""The wire of each protocol, imported when it is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aichat_cli.core.models import Wire
from aichat_cli.providers.base import Provider

if TYPE_CHECKING:
    from aichat_cli.providers.helicone import Helicone


def open_wire(
    wire: Wire, model_dir: Path, *, threads: int, helicone: Callable[[], Helicone | None] = lambda: None
) -> Provider:
    """A wire of one's own; close it. The folder and the number of threads are for the embedded model, `helicone` is for
    the direct wires.
    """
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

"""What other packages may import from aichat: these names stay, everything else in the house may move.

Each comes from where it lives when it is first asked for, so that a provider does not load what stores of vectors need.
docs/how-to/write-a-plugin.md tells how they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aichat_cli.chat.observing import FinishedTurn, Span, TurnContent
    from aichat_cli.core.documents import Heading, LoadedDocument
    from aichat_cli.core.errors import (
        AichatError,
        ConfigError,
        ContextTooLong,
        DocumentError,
        KeyRejected,
        ModelNotFound,
        ProviderError,
        ProviderUnavailable,
        RateLimited,
        RequestRejected,
        TimedOut,
    )
    from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, TextDelta, Usage
    from aichat_cli.core.messages import Attachment, ChatMessage
    from aichat_cli.core.models import Model
    from aichat_cli.core.money import TokenUsage
    from aichat_cli.core.secret import Secret
    from aichat_cli.documents.embedding.base import Matrix
    from aichat_cli.documents.plugged_vectors import PluggedStore, StoreSurroundings
    from aichat_cli.documents.vectors import Neighbour, VectorStore
    from aichat_cli.integrations.observer import Delivery, Observer, Surroundings
    from aichat_cli.providers.base import ChatRequest, Provider, Timeouts
    from aichat_cli.providers.plugged import OfferedModel, ProviderPlugin

__all__ = [
    "AichatError",
    "Attachment",
    "ChatMessage",
    "ChatRequest",
    "ConfigError",
    "ContextTooLong",
    "Delivery",
    "DocumentError",
    "Finished",
    "FinishedTurn",
    "Heading",
    "KeyRejected",
    "LoadedDocument",
    "Matrix",
    "Model",
    "ModelNotFound",
    "Neighbour",
    "Notice",
    "Observer",
    "OfferedModel",
    "PluggedStore",
    "Provider",
    "ProviderError",
    "ProviderEvent",
    "ProviderPlugin",
    "ProviderUnavailable",
    "RateLimited",
    "ReasoningDelta",
    "RequestRejected",
    "Secret",
    "Span",
    "StoreSurroundings",
    "Surroundings",
    "TextDelta",
    "TimedOut",
    "Timeouts",
    "TokenUsage",
    "TurnContent",
    "Usage",
    "VectorStore",
]

_HOMES = {
    "chat.observing": "FinishedTurn Span TurnContent",
    "core.documents": "Heading LoadedDocument",
    "core.errors": "AichatError ConfigError ContextTooLong DocumentError KeyRejected ModelNotFound ProviderError"
    " ProviderUnavailable RateLimited RequestRejected TimedOut",
    "core.events": "Finished Notice ProviderEvent ReasoningDelta TextDelta Usage",
    "core.messages": "Attachment ChatMessage",
    "core.models": "Model",
    "core.money": "TokenUsage",
    "core.secret": "Secret",
    "documents.embedding.base": "Matrix",
    "documents.plugged_vectors": "PluggedStore StoreSurroundings",
    "documents.vectors": "Neighbour VectorStore",
    "integrations.observer": "Delivery Observer Surroundings",
    "providers.base": "ChatRequest Provider Timeouts",
    "providers.plugged": "OfferedModel ProviderPlugin",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"aichat_cli.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value

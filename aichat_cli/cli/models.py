"""`aichat models`: what can be asked, what it costs, and your own endpoints."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from aichat_cli.app import App
from aichat_cli.cli.common import LISTING_LIMIT, AllFlag, DebugFlag, JsonFlag, LimitOption, command_group, opened
from aichat_cli.config import settings_file
from aichat_cli.config.settings import known
from aichat_cli.core.errors import AichatError, UnknownModel, UsageError
from aichat_cli.core.messages import KIND_NAMES
from aichat_cli.core.models import GATEWAY, Model
from aichat_cli.core.money import NANO_PER_DOLLAR
from aichat_cli.providers import plugged, pull
from aichat_cli.providers.custom import custom_models
from aichat_cli.providers.endpoints import shown_url
from aichat_cli.providers.pricing import PRICE_FIELDS, price_from
from aichat_cli.providers.pullable import CHAT_MODELS, PULLABLE
from aichat_cli.render import json_shapes, tables
from aichat_cli.render.answer import print_text
from aichat_cli.render.diagnostics import Diagnostics, one_line
from aichat_cli.render.embedded import pull_with_progress

app = command_group("Models: list, choose, add.")

Name = Annotated[str, typer.Argument(help="Model, alias or provider/model.", metavar="MODEL")]


@app.command("list")
def list_(
    query: Annotated[str, typer.Argument(help="Only names and providers with this text in them.")] = "",
    limit: LimitOption = LISTING_LIMIT,
    everything: AllFlag = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the gateway you are logged in to anew.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """List models: the common ones, or with --all or a text to look for, all that are known."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        if refresh:
            house.account.refresh()
        elif house.settings.text("gateway.url"):
            _look_again(house, diagnostics)
        wanted = query.lower()
        every = house.registry.listing(all=everything or bool(query))
        matching = [model for model in every if wanted in model.name.lower() or wanted in model.provider.lower()]
        if wanted == GATEWAY and house.account.url:
            matching = [model for model in every if model.provider == GATEWAY]
        for error in plugged.problems():
            diagnostics.notice(one_line(error))
        listed = matching if everything else matching[:limit]
        if as_json:
            print_text(json_shapes.dumps(json_shapes.models(listed)))
            return
        if listed:
            tables.models(listed)
        if len(listed) < len(matching):
            diagnostics.notice(f"{len(matching) - len(listed)} more: --all shows them.")
        elif not listed:
            diagnostics.notice(f'No model has "{query}" in its name.')


@app.command()
def info(name: Name, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Show what is known of one model."""
    with opened(as_json=as_json, debug=debug) as (house, _):
        model = house.registry.resolve(name)
        if as_json:
            print_text(json_shapes.dumps(json_shapes.models([model])[0]))
        else:
            tables.pairs(_facts(model))


@app.command()
def default(
    name: Annotated[str | None, typer.Argument(help="The new default.", metavar="[MODEL]")] = None,
    debug: DebugFlag = False,
) -> None:
    """Show or set the model that answers when -m is not given."""
    with opened(debug=debug) as (house, diagnostics):
        if name is None:
            print_text(f"{house.model(None).name}\n")
            return
        model = house.registry.resolve(name)
        settings_file.set_value(house.paths.config_file, known("model"), _lasting_name(name, model))
        diagnostics.notice(f"{model.name} answers from now on.")


@app.command()
def alias(
    name: Annotated[str | None, typer.Argument(help="The short name.", metavar="[NAME]")] = None,
    target: Annotated[str | None, typer.Argument(help="What it stands for.", metavar="[MODEL]")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Forget the alias.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Show, set or remove a short name for a model."""
    with opened(debug=debug) as (house, diagnostics):
        if name is None:
            every = {**house.registry.shipped_aliases, **house.settings.aliases()}
            tables.pairs(sorted(every.items()))
        elif remove:
            settings_file.remove_entry(house.paths.config_file, "aliases", name)
            diagnostics.notice(f"{name} is no alias any more.")
        elif target is None:
            print_text(f"{house.registry.resolve(name).name}\n")
        else:
            model = house.registry.resolve(target)
            if name == target:
                raise UsageError("An alias cannot stand for itself.")
            settings_file.set_entry(house.paths.config_file, "aliases", name, _lasting_name(target, model))
            diagnostics.notice(f"{name} stands for {model.name}.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What you will call it.", metavar="NAME")],
    base_url: Annotated[str, typer.Option("--base-url", help="As in http://localhost:8080/v1", metavar="URL")],
    model_id: Annotated[
        str | None, typer.Option("--model-id", help="What the endpoint calls it; default NAME.")
    ] = None,
    wire: Annotated[
        Literal["openai", "anthropic"],
        typer.Option("--wire", help="The protocol the endpoint speaks: openai or anthropic."),
    ] = "openai",
    key_name: Annotated[
        str | None, typer.Option("--key-name", help="Which key to send, as named by aichat keys.")
    ] = None,
    context: Annotated[int | None, typer.Option("--context", help="Its window, in tokens.", min=1)] = None,
    input_price: Annotated[
        float | None, typer.Option("--input-price", help="Dollars per million input tokens.")
    ] = None,
    output_price: Annotated[
        float | None, typer.Option("--output-price", help="Dollars per million output tokens.")
    ] = None,
    debug: DebugFlag = False,
) -> None:
    """Add a model at an endpoint of your own."""
    with opened(debug=debug) as (house, diagnostics):
        given = {
            "base_url": base_url,
            "model_id": model_id,
            "wire": wire,
            "key_name": key_name,
            "context_tokens": context,
            "input_usd_per_mtok": input_price,
            "output_usd_per_mtok": output_price,
        }
        entry = {field: value for field, value in given.items() if value is not None}
        custom_models({name: entry})  # raises before anything wrong is written
        settings_file.set_entry(house.paths.config_file, "models", name, entry)
        diagnostics.notice(f"Added {name}. Try: aichat -m {name} hello")


@app.command()
def price(
    name: Annotated[str, typer.Argument(help="The model.", metavar="MODEL")],
    input_price: Annotated[float | None, typer.Option("--input", help="Dollars per million input tokens.")] = None,
    output_price: Annotated[float | None, typer.Option("--output", help="Of output tokens.")] = None,
    cached: Annotated[float | None, typer.Option("--cached", help="Of tokens read from a cache.")] = None,
    cache_write: Annotated[float | None, typer.Option("--cache-write", help="Of tokens written to it.")] = None,
    reasoning: Annotated[float | None, typer.Option("--reasoning", help="Of tokens it thinks in.")] = None,
    free: Annotated[bool, typer.Option("--free", help="It costs nothing.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Forget the price you gave it.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Give a model another price, which is counted from now on; what was recorded stays as it is."""
    with opened(debug=debug) as (house, diagnostics):
        path = house.paths.config_file
        if remove:
            settings_file.remove_entry(path, "prices", name)
            diagnostics.notice(f"{name} has the price it is known for again.")
            return
        given = dict(zip(PRICE_FIELDS, (input_price, output_price, cached, cache_write, reasoning), strict=True))
        entry = {field: value for field, value in given.items() if value is not None} | ({"free": True} if free else {})
        model, is_embedding = _any_model(house, name)
        if price_from(model.name, entry, is_embedding=is_embedding) is None:
            raise UsageError("There is no price.", hint=f"As in: aichat models price {name} --input 2.5 --output 10")
        settings_file.set_entry(path, "prices", model.name, entry)
        diagnostics.notice(f"{model.name} is counted at this price from now on.")


@app.command()
def rm(
    name: Annotated[str, typer.Argument(help="A model you added.", metavar="NAME")], debug: DebugFlag = False
) -> None:
    """Forget a model you added."""
    with opened(debug=debug) as (house, diagnostics):
        settings_file.remove_entry(house.paths.config_file, "models", name)
        diagnostics.notice(f"{name} is forgotten.")


@app.command("pull")
def pull_(
    name: Annotated[
        str, typer.Argument(help="smollm2, which answers, or minilm, which ranks search results.", metavar="MODEL")
    ] = "smollm2",
    debug: DebugFlag = False,
) -> None:
    """Fetch an embedded model, which then works without a network."""
    with opened(debug=debug) as (house, diagnostics):
        if name not in PULLABLE:
            raise UsageError(f'"{name}" is not an embedded model; there is: {", ".join(sorted(PULLABLE))}.')
        if not pull.is_intact(name, house.paths.model_dir):
            pull_with_progress(name, house, diagnostics)
        is_for_chat = name in CHAT_MODELS
        what_now = f"Try: aichat -m {name} hello" if is_for_chat else "aichat search ranks its best results with it."
        diagnostics.notice(f"{name} is ready. {what_now}")


def _look_again(house: App, diagnostics: Diagnostics) -> None:
    """Ask the gateway for its models where they were last told a day ago or more; it is not waited for long."""
    if house.account.profile is not None and house.account.profile.is_fresh:
        return
    from aichat_cli.account.client import BRIEF

    try:
        house.account.refresh(BRIEF)
    except AichatError as error:
        diagnostics.warning(f"{error.message} Its models are shown as they were last known.")


def _any_model(house: App, name: str) -> tuple[Model, bool]:
    """The model of that name, and whether it embeds."""
    try:
        return house.registry.resolve(name), False
    except UnknownModel:
        return house.registry.embedding_model(name), True


def _lasting_name(typed: str, model: Model) -> str:
    """A file's name as it was typed means something else in another folder."""
    return model.name if model.wire == "local" else typed


def _what_it_reads(model: Model) -> str:
    read = ["text", *(name for kind, name in KIND_NAMES.items() if model.reads(kind))]
    unknown = [name for kind, name in KIND_NAMES.items() if model.reads(kind) is None]
    return ", ".join(read) + (f"; unknown: {', '.join(unknown)}" if unknown else "")


def _facts(model: Model) -> list[tuple[str, str]]:
    facts = [
        ("name", model.name),
        ("sent as", model.wire_name),
        ("provider", model.provider),
        ("protocol", model.wire),
        ("endpoint", shown_url(model.base_url) if model.base_url else "chosen by the protocol"),
        ("key", model.key_name or "none needed"),
        ("context", f"{model.context_tokens:,} tokens" if model.context_tokens else "unknown"),
        ("longest answer", f"{model.max_output_tokens:,} tokens" if model.max_output_tokens else "unknown"),
        ("reads", _what_it_reads(model)),
    ]
    if model.price is None:
        facts.append(("price", "unknown"))
    else:
        rates = model.price.rates
        facts.append(("input", f"${rates.input / NANO_PER_DOLLAR:.6g} per million tokens"))
        if rates.cached_input is not None:
            facts.append(("cached input", f"${rates.cached_input / NANO_PER_DOLLAR:.6g} per million tokens"))
        facts.append(("output", f"${rates.output / NANO_PER_DOLLAR:.6g} per million tokens"))
    if model.retired:
        facts.append(("retired", f"yes; its successor is {model.retired}"))
    return facts

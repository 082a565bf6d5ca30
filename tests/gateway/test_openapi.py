"""The gateway's description of itself is true: whatever it allows to be asked is answered as it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.routing import Route

from aichat_cli.gateway.app import routes
from aichat_cli.gateway.metrics import Metrics
from aichat_cli.gateway.openapi import document
from tests.runner import ROOT
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer

MODELS = {
    "ChatRequest": "gpt-4o-mini",
    "MessagesRequest": "claude-haiku-4-5",
    "EmbeddingRequest": "text-embedding-3-small",
}
"""What is asked of each kind, where a name made up would lead nowhere."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedServer) -> Iterator[RunningGateway]:
    environ = {"STRIPE_WEBHOOK_SECRET": "whsec_of_the_tests"}
    with RunningGateway(tmp_path_factory.mktemp("described"), provider, environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def described(gateway: RunningGateway) -> Any:
    told = httpx.get(f"{gateway.url}/openapi.json", trust_env=False).json()
    for name, model in MODELS.items():
        told["components"]["schemas"][name]["properties"]["model"] = {"const": model}
    return schemathesis.openapi.from_dict(told)


@pytest.fixture(scope="module")
def key(gateway: RunningGateway) -> str:
    return gateway.key("anna", credits_=100_000)


def is_no_defect(_: Any, response: Any, case: Any) -> None:
    """A failure that is told of is none; one that nobody thought of is."""
    assert "internal_error" not in response.text, case.as_curl_command()
    assert response.status_code != 500, case.as_curl_command()


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_is_answered_as_described(case: Any, gateway: RunningGateway, key: str) -> None:
    case.call_and_validate(
        base_url=gateway.url,
        headers={"x-api-key": key},
        checks=[is_no_defect, status_code_conformance, content_type_conformance, response_schema_conformance],
    )


def test_every_path_is_described_and_nothing_else() -> None:
    told = {
        (path, method.upper())
        for path, operations in document("http://gateway")["paths"].items()
        for method in operations
    }
    there = set()
    for route in routes():
        assert isinstance(route, Route)
        path = re.sub(r":\w+\}", "}", route.path)
        there |= {(path, method) for method in route.methods or () if method != "HEAD"}
    assert told == there


def test_the_description_holds_what_it_refers_to() -> None:
    told = document("http://gateway")
    wanted = set(re.findall(r"#/components/schemas/(\w+)", str(told)))
    assert wanted <= set(told["components"]["schemas"])


def test_the_reference_names_every_path_and_every_way_to_be_refused() -> None:
    page = (ROOT / "docs" / "reference" / "http.md").read_text("utf-8")
    told = document("http://gateway")["paths"]
    assert [path for path in told if f"`{path}`" not in page] == []
    statuses = {status for operations in told.values() for each in operations.values() for status in each["responses"]}
    rows = re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE)
    assert {status for status in statuses if status >= "400"} <= set(", ".join(rows).split(", "))
    named = re.findall(r"`(aichat_\w+|process_\w+)`", page)
    assert set(named) == set(
        re.findall(r"^# TYPE (\w+)", Metrics().text(desk_waiting=0, log_dropped=0, told=()), re.MULTILINE)
    )

"""Programs that others wrote for OpenAI's API, with a gateway in its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer


def llm(home: Path, gateway: RunningGateway, key: str) -> subprocess.CompletedProcess[str]:
    """One answer of `llm`, set up as its documentation says."""
    model = f"- model_id: ours\n  model_name: gpt-4o-mini\n  api_base: {gateway.openai_url}\n  api_key_name: ours\n"
    (home / "extra-openai-models.yaml").write_text(model, "utf-8")
    (home / "keys.json").write_text(json.dumps({"ours": key}), "utf-8")
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "LLM_USER_PATH": str(home), "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-m", "llm", "-m", "ours", "Why?"],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_llm_streams_from_the_gateway_and_is_told_of_a_wrong_key(
    tmp_path: Path, gateway: RunningGateway, provider: ScriptedServer
) -> None:
    provider.script = {"deltas": ["Be", "cause."], "usage": {"input": 8, "output": 2}}
    answered = llm(tmp_path, gateway, gateway.key("leo"))
    assert (answered.returncode, answered.stdout.strip()) == (0, "Because."), answered.stderr
    refused = llm(tmp_path, gateway, "aichat-aaaaaaaa-" + "b" * 52)
    assert refused.returncode == 1
    assert "This is not an API key of this gateway." in refused.stderr

"""The programs that are measured: ours, `llm`, `sgpt` and a bare Python, each with a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = {
    "llm": ("llm==0.36",),
    "sgpt": ("shell-gpt==1.5.1", "click"),
    "lancedb": ("lancedb==0.40.0",),
    "litellm-proxy": ("litellm[proxy]==1.106.12",),
}
"""Command to requirements; shell-gpt imports click without declaring it. Each gets an environment of its own: their
dependencies exclude each other."""

MODEL = "gpt-4o-mini"


@dataclass(frozen=True, slots=True)
class Contender:
    """A program, and what it needs to talk to the scripted server."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]

    def one_shot(self, prompt: str) -> list[str]:
        """The command line that asks for one answer."""
        options = {"aichat": ["-m", MODEL], "llm": ["-m", "scripted"], "sgpt": ["--no-cache", "--model", MODEL]}
        return [*self.command, *options[self.name], prompt]


def aichat(home: Path, base_url: str) -> Contender:
    """Ours, as installed beside this interpreter, else from the source tree."""
    script = Path(sys.executable).with_name("aichat")
    command = (str(script),) if script.exists() else (sys.executable, "-m", "aichat_cli")
    return Contender("aichat", command, {**_environment(home), "OPENAI_BASE_URL": base_url, "PYTHONPATH": str(ROOT)})


def bare_python(home: Path) -> Contender:
    """The interpreter doing nothing: what no Python program can be faster than."""
    return Contender("python", (sys.executable, "-c", "pass"), _environment(home))


def llm(home: Path, base_url: str, peers: Path) -> Contender:
    """Simon Willison's llm."""
    folder = home / "llm"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "extra-openai-models.yaml").write_text(
        f"- model_id: scripted\n  model_name: {MODEL}\n  api_base: {base_url}\n", "utf-8"
    )
    return Contender("llm", (_installed("llm", peers),), {**_environment(home), "LLM_USER_PATH": str(folder)})


def sgpt(home: Path, base_url: str, peers: Path) -> Contender:
    """shell-gpt."""
    folder = home / ".config" / "shell_gpt"
    (folder / "functions").mkdir(parents=True, exist_ok=True)
    settings = {
        "OPENAI_API_KEY": "not-a-key",
        "API_BASE_URL": base_url,
        "DEFAULT_MODEL": MODEL,
        "USE_LITELLM": "false",
        "OPENAI_USE_FUNCTIONS": "false",
        "CACHE_PATH": str(home / "cache"),
        "CHAT_CACHE_PATH": str(home / "chat_cache"),
    }
    (folder / ".sgptrc").write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "utf-8")
    return Contender("sgpt", (_installed("sgpt", peers),), _environment(home))


def _environment(home: Path) -> dict[str, str]:
    home.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "LANG": "en_US.UTF-8",
        "TERM": "xterm-256color",
        "OPENAI_API_KEY": "not-a-key",
        "NO_PROXY": "127.0.0.1",
    }


def interpreter(peer: str, peers: Path) -> Path:
    """The Python of a peer's environment, which is made where it is missing."""
    requirements = PEERS[peer]
    environment = peers / requirements[0]
    python = environment / "bin" / "python"
    mark = environment / "installed"
    if not mark.exists():
        print(f"Installing {requirements[0]} into {environment} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements], check=True)
        mark.touch()
    return python


def _installed(peer: str, peers: Path) -> str:
    return str(interpreter(peer, peers).with_name(peer))

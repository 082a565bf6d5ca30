"""The forward pass of a BERT encoder in plain numpy, of one text at a time: no padding, so that what a text becomes
does not depend on the texts beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aichat_cli.core.struct import Struct
from aichat_cli.documents.embedding.base import Matrix

_EPSILON = 1e-12
_HEAD = 32
"""How wide one attention head is."""
_ROWS = 64
"""So many rows of the inner layer are activated together: they stay in the processor's cache."""
_SCORES = 1 << 16
"""So many scores are made together, for the same reason."""
_GELU = (0.797507883, 0.0370056472, -0.000351516992)
"""erf(x / sqrt 2) is tanh(x * p(x * x)) up to 3e-5, for x below 6; beyond it is 1."""


class _Affine(Struct, frozen=True):
    """`x @ weight + bias`; weight of shape (in, out)."""

    weight: Matrix
    bias: Matrix

    def __call__(self, rows: Matrix) -> Matrix:
        result = rows @ self.weight
        result += self.bias
        return result


class _Norm(Struct, frozen=True):
    """Rows brought to mean 0 and variance 1, then scaled; in place."""

    scale: Matrix
    shift: Matrix

    def __call__(self, rows: Matrix) -> Matrix:
        import numpy as np

        rows -= rows.mean(axis=-1, keepdims=True)
        variance = np.einsum("ij,ij->i", rows, rows) / rows.shape[-1]
        rows /= np.sqrt(variance + _EPSILON)[:, None]
        rows *= self.scale
        rows += self.shift
        return rows


class _Layer(Struct, frozen=True):
    queries_keys_values: _Affine
    attended: _Affine
    attended_norm: _Norm
    inner: _Affine
    outer: _Affine
    outer_norm: _Norm

    def __call__(self, rows: Matrix) -> Matrix:
        attended = self.attended(_attention(self.queries_keys_values(rows)))
        attended += rows
        rows = self.attended_norm(attended)
        inner = self.inner(rows)
        for start in range(0, len(inner), _ROWS):
            _activate(inner[start : start + _ROWS])
        outer = self.outer(inner)
        outer += rows
        return self.outer_norm(outer)


class Bert:
    """An encoder of the given tensors, named as Hugging Face names them.

    Raises:
        KeyError, ValueError: the tensors are not those of such an encoder.
    """

    def __init__(self, tensors: Mapping[str, Matrix], *, layers: int, dimensions: int) -> None:
        self._words = tensors["embeddings.word_embeddings.weight"]
        self._positions = tensors["embeddings.position_embeddings.weight"]
        self._positions = self._positions + tensors["embeddings.token_type_embeddings.weight"][0]
        self._norm = _norm(tensors, "embeddings.LayerNorm")
        self._layers = [_layer(tensors, f"encoder.layer.{number}.") for number in range(layers)]
        if self._words.shape[-1] != dimensions or self._layers[-1].outer.weight.shape[-1] != dimensions:
            raise ValueError(f"its vectors have {self._words.shape[-1]} dimensions, not {dimensions}")

    def states(self, ids: Sequence[int]) -> Matrix:
        """The last hidden state of each token, shape (n, dimensions)."""
        rows: Matrix = self._words[ids] + self._positions[: len(ids)]
        rows = self._norm(rows)
        for layer in self._layers:
            rows = layer(rows)
        return rows


def _attention(projected: Matrix) -> Matrix:
    """Every token's mix of all tokens' values; `projected` holds queries, keys and values side by side."""
    import numpy as np

    length = len(projected)
    queries, keys, values = np.ascontiguousarray(projected.reshape(length, 3, -1, _HEAD).transpose(1, 2, 0, 3))
    queries *= np.float32(_HEAD**-0.5)
    mixed = np.empty((length, *queries.shape[::2]), dtype=np.float32)
    together = max(1, _SCORES // (length * length))
    for start in range(0, len(queries), together):
        heads = slice(start, start + together)
        scores = queries[heads] @ keys[heads].transpose(0, 2, 1)
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        mixed[:, heads] = ((scores @ values[heads]) / scores.sum(axis=-1, keepdims=True)).transpose(1, 0, 2)
    return mixed.reshape(length, -1)


def _activate(rows: Matrix) -> None:
    """GELU, in place."""
    import numpy as np

    linear, cubic, quintic = (np.float32(factor) for factor in _GELU)
    squares = np.minimum(rows * rows, np.float32(36))
    inner = squares * quintic
    inner += cubic
    inner *= squares
    inner += linear
    inner *= rows
    np.tanh(inner, out=inner)
    inner += np.float32(1)
    rows *= inner
    rows *= np.float32(0.5)


def _layer(tensors: Mapping[str, Matrix], prefix: str) -> _Layer:
    import numpy as np

    projections = [_affine(tensors, f"{prefix}attention.self.{name}") for name in ("query", "key", "value")]
    return _Layer(
        queries_keys_values=_Affine(
            np.concatenate([each.weight for each in projections], axis=1),
            np.concatenate([each.bias for each in projections]),
        ),
        attended=_affine(tensors, f"{prefix}attention.output.dense"),
        attended_norm=_norm(tensors, f"{prefix}attention.output.LayerNorm"),
        inner=_affine(tensors, f"{prefix}intermediate.dense"),
        outer=_affine(tensors, f"{prefix}output.dense"),
        outer_norm=_norm(tensors, f"{prefix}output.LayerNorm"),
    )


def _affine(tensors: Mapping[str, Matrix], name: str) -> _Affine:
    """Of a file, which has the weights as (out, in)."""
    import numpy as np

    return _Affine(np.ascontiguousarray(tensors[f"{name}.weight"].T), tensors[f"{name}.bias"])


def _norm(tensors: Mapping[str, Matrix], name: str) -> _Norm:
    return _Norm(tensors[f"{name}.weight"], tensors[f"{name}.bias"])

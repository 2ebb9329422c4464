"""Attention and what goes with it: masks, key-value caches, rotary positions, linear attention.

Scores are scaled by the square root of the scale on either side, softmax runs in float32, and a row without any key to
attend to gives 0: all three as ONNX's function bodies and reference evaluator have it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.ops.recurrent import run_steps
from neoc.targets.engines.neuron.table import BOOL, FLOATS, NUMBERS, In, Op, Rule, Xla

Array = Any
_F = In(FLOATS)
_WHOLE = In(frozenset({"int32", "int64"}))


def split_heads(x: Array, heads: int) -> Array:
    """(batch, steps, heads * size) -> (batch, heads, steps, size)"""
    batch, steps, width = x.shape
    return x.reshape(batch, steps, heads, width // heads).transpose(0, 2, 1, 3)


def join_heads(x: Array) -> Array:
    """(batch, heads, steps, size) -> (batch, steps, heads * size)"""
    batch, heads, steps, size = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, steps, heads * size)


# ---- attention ---------------------------------------------------------------------------------------


def attention(c: Call, j: Xla, q: Array, k: Array, v: Array, *more: Array | None) -> tuple[Array, ...]:
    """softmax(q k' / sqrt(size) + bias) v; the keys and values with those of the cache before them; the scores."""
    mask, past_k, past_v, lengths = [*more, None, None, None, None][:4]
    joined = q.ndim == 3
    if joined:
        q = split_heads(q, c.attribute("q_num_heads"))
        k, v = (split_heads(x, c.attribute("kv_num_heads")) for x in (k, v))
    k = k if past_k is None else j.lax.concatenate([past_k, k], 2)
    v = v if past_v is None else j.lax.concatenate([past_v, v], 2)
    present = (k, v)
    groups = q.shape[1] // k.shape[1]
    if groups > 1:  # each head of keys serves `groups` heads of queries
        k, v = (j.np.repeat(x, groups, axis=1) for x in (k, v))
    offset = past_k.shape[2] if past_k is not None else None if lengths is None else lengths - q.shape[2]
    bias = _bias(c, j, q.shape[2], k.shape[2], q.dtype, mask, offset, lengths)

    root = np.sqrt(c.attribute("scale") or 1 / np.sqrt(q.shape[3])).astype(np.float32)
    root = j.np.asarray(root, q.dtype)
    scores = j.np.matmul(q * root, j.np.swapaxes(k * root, 2, 3))
    if cap := c.attribute("softcap", 0.0):
        scores = (j.np.tanh(scores / cap) * cap).astype(q.dtype)
    biased = scores if bias is None else scores + bias
    weights = _softmax(j, biased.astype(j.np.float32), bias)
    shown = (scores, scores, biased, weights)[c.attribute("qk_matmul_output_mode", 0)].astype(q.dtype)
    y = j.np.matmul(weights.astype(q.dtype), v)
    return (join_heads(y) if joined else y), *present, shown


def _softmax(j: Xla, scores: Array, bias: Array | None) -> Array:
    """0 where every bias of the row is -inf: decided on the bias, since scores may be NaN there."""
    if bias is None:
        e = j.np.exp(scores - j.np.max(scores, -1, keepdims=True))
        return e / j.np.sum(e, -1, keepdims=True)
    masked = j.np.max(bias, -1, keepdims=True) == -np.inf
    top = j.np.where(masked, 0, j.np.max(scores, -1, keepdims=True))
    e = j.np.exp(scores - top)
    total = j.np.sum(e, -1, keepdims=True)
    return j.np.where(masked, 0, e / j.np.where(total == 0, 1, total))


def _bias(
    c: Call,
    j: Xla,
    queries: int,
    keys: int,
    dtype: Any,
    mask: Array | None,
    offset: Array | int | None,
    lengths: Array | None,
) -> Array | None:
    """What is added to the scores: 0 where a key may be attended to, -inf where not. None: nothing is masked."""
    parts: list[Array] = []
    if mask is not None:
        parts.append(_additive(j, _widened(j, mask, keys), dtype))
    distance = _distance(j, queries, keys, 0 if offset is None else offset)
    before, after = c.attribute("left_window_size", -1), c.attribute("right_window_size", -1)
    if c.attribute("is_causal", 0):
        parts.append(_additive(j, distance >= 0, dtype))
    if before >= 0:
        parts.append(_additive(j, distance <= before, dtype))
    if after >= 0:
        parts.append(_additive(j, -distance <= after, dtype))
    if lengths is not None:
        steps = j.lax.iota(lengths.dtype, keys)
        parts.append(_additive(j, (steps < lengths[:, None])[:, None, None, :], dtype))
    if not parts:
        return None
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _widened(j: Xla, mask: Array, keys: int) -> Array:
    """A mask over fewer keys hides the rest."""
    lacking = keys - mask.shape[-1]
    if lacking <= 0:
        return mask
    hidden = j.np.asarray(False if mask.dtype == bool else -np.inf, mask.dtype)
    return j.lax.pad(mask, hidden, [(0, 0, 0)] * (mask.ndim - 1) + [(0, lacking, 0)])


def _additive(j: Xla, mask: Array, dtype: Any) -> Array:
    if mask.dtype != bool:
        return mask
    return j.np.where(mask, j.np.zeros((), dtype), j.np.asarray(-np.inf, dtype))


def _distance(j: Xla, queries: int, keys: int, offset: Array | int) -> Array:
    """How far each key lies before the query: (queries, keys), or (batch, 1, queries, keys) for an offset a batch."""
    shape = (queries, keys)
    distance = j.lax.broadcasted_iota(j.np.int64, shape, 0) - j.lax.broadcasted_iota(j.np.int64, shape, 1)
    return distance + (offset if isinstance(offset, int) else offset.reshape(-1, 1, 1, 1))


# ---- rotary positions ----------------------------------------------------------------------------------


def rotary(c: Call, j: Xla, x: Array, cos: Array, sin: Array, positions: Array | None = None) -> Array:
    """Pairs of elements turned by an angle that grows with the position; the rest of each head stays."""
    joined = x.ndim == 3
    wide = x.reshape(*x.shape[:2], c.attribute("num_heads"), -1) if joined else x.transpose(0, 2, 1, 3)
    size = c.attribute("rotary_embedding_dim", 0) or wide.shape[3]
    if positions is not None:
        cos, sin = (j.np.take(t, positions, axis=0, mode="clip") for t in (cos, sin))
    cos, sin = cos[:, :, None, :], sin[:, :, None, :]
    turned, kept = wide[..., :size], wide[..., size:]
    if c.attribute("interleaved", 0):
        first, second = turned[..., 0::2], turned[..., 1::2]
    else:
        first, second = turned[..., : size // 2], turned[..., size // 2 :]
    real, imaginary = cos * first - sin * second, sin * first + cos * second
    if c.attribute("interleaved", 0):
        turned = j.np.stack([real, imaginary], -1).reshape(turned.shape)
    else:
        turned = j.lax.concatenate([real, imaginary], 3)
    y = j.lax.concatenate([turned, kept], 3) if kept.shape[3] else turned
    return y.reshape(x.shape) if joined else y.transpose(0, 2, 1, 3)


# ---- linear attention ------------------------------------------------------------------------------------


def linear_attention(
    c: Call,
    j: Xla,
    q: Array,
    k: Array,
    v: Array,
    past: Array | None = None,
    decay: Array | None = None,
    beta: Array | None = None,
) -> tuple[Array, Array]:
    """A state S of keys x values a head: S <- decay S + k (x) v', read by q'S. v' is corrected by what S holds of k."""
    heads, kv_heads = c.attribute("q_num_heads"), c.attribute("kv_num_heads")
    rule = c.attribute("update_rule", "gated_delta")
    batch, steps, _ = q.shape
    wide = j.np.float32
    q4 = split_heads(q, heads).astype(wide)
    k4, v4 = (split_heads(x, kv_heads).astype(wide) for x in (k, v))
    scale = c.attribute("scale", 0.0) or 1 / np.sqrt(q4.shape[3]).item()
    state = j.np.zeros((batch, kv_heads, k4.shape[3], v4.shape[3]), wide) if past is None else past.astype(wide)
    # time first: each step takes one slice
    parts = [x.transpose(2, 0, 1, 3) for x in (q4, k4, v4)]
    for given, width in ((decay, None), (beta, 1)):
        if given is None:
            parts.append(j.np.zeros((steps, 1, 1, 1), wide))
            continue
        columns = kv_heads if width is None else given.shape[2]
        parts.append(split_heads(given, columns).astype(wide).transpose(2, 0, 1, 3))

    def step(before: tuple[Array, ...], inputs: tuple[Array, ...]) -> tuple[tuple[Array, ...], Array]:
        (s,) = before
        qt, kt, vt, dt, bt = inputs
        if rule in ("gated", "gated_delta"):
            s = s * j.np.exp(dt)[..., None]
        if rule in ("delta", "gated_delta"):
            vt = bt * (vt - j.np.einsum("bhdm,bhd->bhm", s, kt))
        s = s + kt[..., :, None] * vt[..., None, :]
        read = s if heads == kv_heads else j.np.repeat(s, heads // kv_heads, axis=1)
        return (s,), scale * j.np.einsum("bhd,bhdm->bhm", qt, read)

    (state,), ys = run_steps(j, step, tuple(parts), (state,))
    y = ys.transpose(1, 0, 2, 3).reshape(batch, steps, -1)
    return y.astype(q.dtype), state.astype(q.dtype if past is None else past.dtype)


_PRECISION = Rule(
    lambda c: c.attribute("softmax_precision") not in (None, 1, 10, 16),
    "softmax is asked for in a precision that Neuron devices do not have",
    "leave softmax_precision out: softmax runs in float32",
    "ESPP004",
)
_HALF_A_CACHE = Rule(
    lambda c: c.has(4) != c.has(5) or (c.has(4) and c.has(6)),
    "past_key and past_value come together, and without nonpad_kv_seqlen",
)
_SEQUENCE = In(FLOATS, ranks=(3, 4))

OPS = (
    Op(
        "Attention",
        (23, 25),
        (_SEQUENCE, _SEQUENCE, _SEQUENCE, In(FLOATS | BOOL), _F, _F, _WHOLE),
        attention,
        outputs=4,
        rules=(_PRECISION, _HALF_A_CACHE),
    ),
    Op("LinearAttention", (27, 27), (In(FLOATS, ranks=(3, 3)),) * 3 + (_F,), linear_attention, outputs=2),
    Op("RotaryEmbedding", (23, 23), (_SEQUENCE, _F, _F, In(NUMBERS & _WHOLE.dtypes)), rotary),
)

"""Writes tests/fixtures/golden_eurobert.safetensors: what tests/eurobert.rs holds the EuroBERT classifier against.

    python3 -m venv /tmp/jax && /tmp/jax/bin/pip install jax==0.10.2 numpy safetensors
    /tmp/jax/bin/python scripts/make_golden_eurobert.py [DIR]

An implementation of its own, from the published definitions alone: EuroBERT (arXiv 2503.05500) with RMSNorm
(1910.07467), rotary positions (2104.09864), grouped-query attention (2305.13245) and SwiGLU (2002.05202), where every
token sees all that are not padding. Its classifier takes the mean of their states, a dense map, GELU by the error
function and a second map; both have biases. Tensor names, shapes and that order are those of transformers'
EuroBertForSequenceClassification with classifier_pooling "mean". Gradients are JAX's; all arithmetic is f64.

A file holds: every weight; input_ids (B, T), padded with 0; lengths (B); labels (B); logits (B, 3); loss, the mean
cross-entropy of the labels in nats; grad.NAME for every weight. Everything is stored as f32. The sizes stand once more
in tests/eurobert.rs. They are chosen so that a mistake shows: a large eps, a small base of the rotations, biases that
are not zero, fewer key heads than query heads, a head_dim that is not C / H.
"""

import os
import pathlib
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from safetensors.numpy import save_file

LENGTHS = [11, 4, 7]
V, C, LAYERS, HEADS, KV_HEADS, D, INNER, LABELS = 61, 24, 2, 4, 2, 8, 40, 3
EPS, THETA = 1e-2, 100.0


def shapes():
    queries, keys = HEADS * D, KV_HEADS * D
    found = {
        "model.embed_tokens.weight": (V, C), "model.norm.weight": (C,), "dense.weight": (C, C), "dense.bias": (C,),
        "classifier.weight": (LABELS, C), "classifier.bias": (LABELS,),
    }
    for layer in range(LAYERS):
        of_layer = {
            "input_layernorm.weight": (C,), "post_attention_layernorm.weight": (C,),
            "self_attn.q_proj.weight": (queries, C), "self_attn.k_proj.weight": (keys, C),
            "self_attn.v_proj.weight": (keys, C), "self_attn.o_proj.weight": (C, queries),
            "mlp.gate_proj.weight": (INNER, C), "mlp.up_proj.weight": (INNER, C), "mlp.down_proj.weight": (C, INNER),
        }
        found |= {f"model.layers.{layer}.{name}": shape for name, shape in of_layer.items()}
    return found


def drawn(name, shape, random):
    """Norms near one, biases not zero."""
    middle = 1.0 if "norm" in name else 0.0
    return jnp.asarray(np.float32(random.normal(middle, 0.3, shape)), jnp.float64)


def rms_norm(x, weight):
    return weight * x / jnp.sqrt((x * x).mean(-1, keepdims=True) + EPS)


def heads_of(x):
    """(B, T, heads * D) -> (B, heads, T, D)."""
    return x.reshape(*x.shape[:2], -1, D).swapaxes(1, 2)


def rotated(x):
    """x (B, heads, T, D): values i and i + D / 2 are one complex number, turned by position * theta^(-2i/D)."""
    angles = jnp.outer(jnp.arange(x.shape[2]), THETA ** (-2 * jnp.arange(D // 2) / D))
    turned = (x[..., : D // 2] + 1j * x[..., D // 2 :]) * jnp.exp(1j * angles)
    return jnp.concatenate([turned.real, turned.imag], axis=-1)


def attention(q, k, v, mask):
    """Each query head reads key head h / (H / K), at every token that is not padding."""
    k, v = (x.repeat(HEADS // KV_HEADS, axis=1) for x in (k, v))
    scores = jnp.where(mask[:, None, None, :], q @ k.swapaxes(2, 3) / D**0.5, -jnp.inf)
    attended = jax.nn.softmax(scores, axis=-1) @ v
    return attended.swapaxes(1, 2).reshape(*mask.shape, HEADS * D)


def logits_of(w, ids, mask):
    x = w["model.embed_tokens.weight"][ids]
    for layer in range(LAYERS):
        of = lambda name: w[f"model.layers.{layer}.{name}.weight"]
        h = rms_norm(x, of("input_layernorm"))
        q, k, v = (heads_of(h @ of(f"self_attn.{part}_proj").T) for part in "qkv")
        x = x + attention(rotated(q), rotated(k), v, mask) @ of("self_attn.o_proj").T
        h = rms_norm(x, of("post_attention_layernorm"))
        gate = h @ of("mlp.gate_proj").T
        x = x + (gate / (1 + jnp.exp(-gate)) * (h @ of("mlp.up_proj").T)) @ of("mlp.down_proj").T
    states = rms_norm(x, w["model.norm.weight"])
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    inner = mean @ w["dense.weight"].T + w["dense.bias"]
    inner = inner * (1 + erf(inner / 2**0.5)) / 2
    return inner @ w["classifier.weight"].T + w["classifier.bias"]


def main():
    jax.config.update("jax_enable_x64", True)
    fixtures = pathlib.Path(__file__).parent.parent / "tests" / "fixtures"
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else fixtures
    random = np.random.default_rng(3)
    weights = {name: drawn(name, shape, random) for name, shape in sorted(shapes().items())}
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    ids = random.integers(1, V, mask.shape) * mask
    labels = np.array([2, 0, 1])

    def loss_of(weights):
        logits = logits_of(weights, ids, mask)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
        return -chosen.mean(), logits

    (loss, logits), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights)
    tensors = weights | {"grad." + name: value for name, value in gradients.items()}
    tensors |= {"input_ids": ids, "lengths": LENGTHS, "labels": labels, "logits": logits, "loss": [loss]}
    stored = {name: np.ascontiguousarray(np.float32(value)) for name, value in tensors.items()}
    save_file(stored, out / "golden_eurobert.safetensors", metadata={"format": "np"})


main()

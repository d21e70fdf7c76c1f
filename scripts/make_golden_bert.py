"""Writes tests/fixtures/golden_bert.safetensors: what tests/encoder.rs holds the BERT classifier against.

    python3 -m venv /tmp/flax && /tmp/flax/bin/pip install transformers==4.57.1 flax==0.12.8 jax==0.10.2 safetensors
    /tmp/flax/bin/python scripts/make_golden_bert.py [DIR]

The model is transformers' own, in JAX, and so are its gradients; all arithmetic is f64. A file holds: every weight;
input_ids (B, T), padded with 0; lengths (B); labels (B); logits (B, 3); loss, the mean cross-entropy of the labels in
nats; grad.NAME for every weight. Everything is stored as f32. The sizes stand once more in tests/encoder.rs.
"""

import os
import pathlib
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file
from transformers import BertConfig, FlaxBertForSequenceClassification

LENGTHS = [11, 4, 7]
V, LABELS = 61, 3
CONFIG = BertConfig(
    vocab_size=V, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
    max_position_embeddings=16, type_vocab_size=2, layer_norm_eps=2e-2, num_labels=LABELS,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)


def drawn(path, leaf, random):
    """Norms near one, biases not zero, so that a mistake shows."""
    size, name = np.shape(leaf), path[-1]
    middle, spread = (1.0, 0.3) if name == "scale" else (0.0, 0.3)
    return jnp.asarray(np.float32(random.normal(middle, spread, size)), jnp.float64)


def flat(tree, path=()):
    for name, value in tree.items():
        yield from flat(value, (*path, name)) if isinstance(value, dict) else [((*path, name), value)]


def nested(leaves):
    tree = {}
    for path, leaf in leaves.items():
        at = tree
        for name in path[:-1]:
            at = at.setdefault(name, {})
        at[path[-1]] = leaf
    return tree


def stored(leaves):
    """Under the names and in the layout of PyTorch's files."""
    ends = {"kernel": "weight", "embedding": "weight", "scale": "weight", "bias": "bias"}
    return {
        ".".join([*path[:-1], ends[path[-1]]]): np.float32(leaf.T if path[-1] == "kernel" else leaf)
        for path, leaf in leaves.items()
    }


def main():
    jax.config.update("jax_enable_x64", True)
    fixtures = pathlib.Path(__file__).parent.parent / "tests" / "fixtures"
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else fixtures
    random = np.random.default_rng(3)
    model = FlaxBertForSequenceClassification(CONFIG, dtype=jnp.float64)
    weights = {path: drawn(path, leaf, random) for path, leaf in sorted(flat(model.params))}
    longest = max(LENGTHS)
    mask = np.array([[int(at < length) for at in range(longest)] for length in LENGTHS])
    ids = random.integers(1, V, mask.shape) * mask
    labels = np.array([2, 0, 1])

    def loss_of(weights):
        logits = model(ids, attention_mask=mask, params=nested(weights)).logits
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
        return -chosen.mean(), logits

    (loss, logits), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights)
    tensors = stored(weights) | {"grad." + name: value for name, value in stored(gradients).items()}
    more = {"input_ids": ids, "lengths": LENGTHS, "labels": labels, "logits": logits, "loss": [loss]}
    tensors |= {name: np.float32(value) for name, value in more.items()}
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(contiguous, out / "golden_bert.safetensors", metadata={"format": "np"})


main()

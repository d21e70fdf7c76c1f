"""Writes tests/fixtures/golden_{llama,gpt2}.safetensors: what tests/golden.rs holds the Rust model against.

    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch==2.15.0 numpy safetensors
    /tmp/torch/bin/python scripts/make_golden.py [DIR]

An implementation of its own, from the published definitions alone: RMSNorm (arXiv 1910.07467), rotary positions
(2104.09864), grouped-query attention (2305.13245), SwiGLU (2002.05202), the GPT-2 report, AdamW (1711.05101).
Tensor names and shapes are those of Hugging Face checkpoints. Weights are drawn in f32; all arithmetic is f64, so
that the distance to the Rust model is that model's own rounding.

A file holds: every weight; input_ids (B, T); targets (B, T), -100 where ignored; logits (B, T, V); loss, the mean
over counted targets; grad.NAME for every weight; losses (10), each before its update. Everything is stored as f32.
Sizes and constants below stand once more in tests/golden.rs. They are chosen so that a mistake shows: large eps,
small rope_theta, random norm weights and biases, fewer key heads than query heads, a head_dim that is not C / H.
"""

import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

B, T, V, C = 3, 11, 61, 24
LENGTHS = [11, 11, 7]  # the last row is ragged
STEPS = 10


class Llama:
    layers, heads, kv_heads, head_dim, inner = 2, 4, 2, 8, 40
    eps, theta = 1e-2, 100.0

    @classmethod
    def shapes(cls):
        queries, keys = cls.heads * cls.head_dim, cls.kv_heads * cls.head_dim
        shapes = {"model.embed_tokens.weight": (V, C), "model.norm.weight": (C,), "lm_head.weight": (V, C)}
        for layer in range(cls.layers):
            at = f"model.layers.{layer}."
            shapes |= {
                at + "input_layernorm.weight": (C,),
                at + "self_attn.q_proj.weight": (queries, C),
                at + "self_attn.k_proj.weight": (keys, C),
                at + "self_attn.v_proj.weight": (keys, C),
                at + "self_attn.o_proj.weight": (C, queries),
                at + "post_attention_layernorm.weight": (C,),
                at + "mlp.gate_proj.weight": (cls.inner, C),
                at + "mlp.up_proj.weight": (cls.inner, C),
                at + "mlp.down_proj.weight": (C, cls.inner),
            }
        return shapes

    @classmethod
    def rotate(cls, x):
        """x (B, heads, T, D): values i and i + D / 2 are one complex number, turned by position * theta^(-2i/D)."""
        half = cls.head_dim // 2
        frequencies = cls.theta ** (-torch.arange(half) / half)
        angles = torch.outer(torch.arange(x.shape[2]).double(), frequencies)
        turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([turned.real, turned.imag], dim=-1)

    @classmethod
    def logits(cls, w, ids):
        x = w["model.embed_tokens.weight"][ids]
        for layer in range(cls.layers):
            at = f"model.layers.{layer}."
            h = F.rms_norm(x, (C,), w[at + "input_layernorm.weight"], cls.eps)
            q, k, v = (split_heads(h @ w[at + f"self_attn.{p}_proj.weight"].T, cls.head_dim) for p in "qkv")
            y = causal_attention(cls.rotate(q), cls.rotate(k), v)
            x = x + y @ w[at + "self_attn.o_proj.weight"].T
            h = F.rms_norm(x, (C,), w[at + "post_attention_layernorm.weight"], cls.eps)
            gated = F.silu(h @ w[at + "mlp.gate_proj.weight"].T) * (h @ w[at + "mlp.up_proj.weight"].T)
            x = x + gated @ w[at + "mlp.down_proj.weight"].T
        return F.rms_norm(x, (C,), w["model.norm.weight"], cls.eps) @ w["lm_head.weight"].T


class Gpt2:
    layers, heads, positions, inner = 2, 3, 16, 4 * C
    eps = 2e-2

    @classmethod
    def shapes(cls):
        shapes = {"wte.weight": (V, C), "wpe.weight": (cls.positions, C), "ln_f.weight": (C,), "ln_f.bias": (C,)}
        for layer in range(cls.layers):
            at = f"h.{layer}."
            for norm in ("ln_1", "ln_2"):
                shapes |= {at + norm + ".weight": (C,), at + norm + ".bias": (C,)}
            maps = {"attn.c_attn": (C, 3 * C), "attn.c_proj": (C, C), "mlp.c_fc": (C, cls.inner), "mlp.c_proj": (cls.inner, C)}
            for name, (inputs, outputs) in maps.items():
                shapes |= {at + name + ".weight": (inputs, outputs), at + name + ".bias": (outputs,)}
        return {"transformer." + name: shape for name, shape in shapes.items()}

    @classmethod
    def logits(cls, w, ids):
        def norm(x, name):
            return F.layer_norm(x, (C,), w[f"transformer.{name}.weight"], w[f"transformer.{name}.bias"], cls.eps)

        def conv1d(x, name):
            return x @ w[f"transformer.{name}.weight"] + w[f"transformer.{name}.bias"]

        x = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][: ids.shape[1]]
        for layer in range(cls.layers):
            at = f"h.{layer}."
            q, k, v = conv1d(norm(x, at + "ln_1"), at + "attn.c_attn").split(C, dim=-1)
            y = causal_attention(*(split_heads(part, C // cls.heads) for part in (q, k, v)))
            x = x + conv1d(y, at + "attn.c_proj")
            h = F.gelu(conv1d(norm(x, at + "ln_2"), at + "mlp.c_fc"), approximate="tanh")
            x = x + conv1d(h, at + "mlp.c_proj")
        return norm(x, "ln_f") @ w["transformer.wte.weight"].T


def split_heads(x, head_dim):
    """(B, T, heads * D) -> (B, heads, T, D)."""
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


def causal_attention(q, k, v):
    """q (B, H, T, D), k and v (B, K, T, D), each key head shared by H / K neighbours -> (B, T, H * D)."""
    shared = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(shared, dim=1), v.repeat_interleave(shared, dim=1)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def draw(shapes, generator):
    """Norm weights around 1, everything else around 0; sorted, so that the order of `shapes` does not matter."""
    weights = {}
    for name, shape in sorted(shapes.items()):
        centre = 1.0 if len(shape) == 1 and name.endswith(".weight") else 0.0
        values = centre + 0.3 * torch.randn(shape, generator=generator, dtype=torch.float32)
        weights[name] = values.double().requires_grad_()
    return weights


def batch(generator):
    """Random texts of LENGTHS + 1 tokens: inputs are padded with 0, targets with -100."""
    ids, targets = torch.zeros(B, T, dtype=torch.int64), torch.full((B, T), -100)
    for row, length in enumerate(LENGTHS):
        text = torch.randint(1, V, (length + 1,), generator=generator)
        ids[row, :length], targets[row, :length] = text[:-1], text[1:]
    return ids, targets


def decays(name, weight):
    return weight.dim() == 2 and not any(part in name for part in ("embed_tokens", "wte", "wpe"))


def golden(family, seed):
    generator = torch.Generator().manual_seed(seed)
    w = draw(family.shapes(), generator)
    ids, targets = batch(generator)
    tensors = {name: weight.detach().clone() for name, weight in w.items()}

    optimizer = torch.optim.AdamW(
        [
            {"params": [weight for name, weight in w.items() if decays(name, weight)], "weight_decay": 0.1},
            {"params": [weight for name, weight in w.items() if not decays(name, weight)], "weight_decay": 0.0},
        ],
        lr=1e-2,
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    losses, norms = [], []
    for step in range(STEPS):
        logits = family.logits(w, ids)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            tensors |= {"input_ids": ids, "targets": targets, "logits": logits.detach(), "loss": loss.detach()}
            tensors |= {f"grad.{name}": weight.grad.clone() for name, weight in w.items()}
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(w.values(), 1.0).item())
        optimizer.step()
    tensors["losses"] = torch.tensor(losses)
    print(f"{family.__name__}: losses {losses[0]:.4f} to {losses[-1]:.4f}, norms {norms[0]:.2f} to {norms[-1]:.2f}")
    return {name: tensor.float().contiguous() for name, tensor in tensors.items()}


def main():
    fixtures = pathlib.Path(__file__).parent.parent / "tests" / "fixtures"
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else fixtures
    torch.set_default_dtype(torch.float64)
    for name, family, seed in [("llama", Llama, 1), ("gpt2", Gpt2, 2)]:
        save_file(golden(family, seed), out / f"golden_{name}.safetensors", metadata={"format": "pt"})


main()

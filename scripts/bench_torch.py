#!/usr/bin/env python3
"""PyTorch's time for the training steps of benches/step.rs, one JSON object.

    python scripts/bench_torch.py SHAPE [SECONDS] [--compile] [--cuda] [--graphs]

Independent of the Rust code, written for speed: fused attention, fused AdamW, fused projections. A step is
forward, backward, clipping of the gradient norm, AdamW. --cuda runs on the GPU with bf16 autocast and TF32
elsewhere, and reads the loss every ten steps alone; --graphs compiles for CUDA graphs. SHAPE is L30, G124, S1, S2, S3, FT or FT-lengths; the last draws
text lengths from the file named by the environment variable LENGTHS and pads each batch to its longest text.
"""

import json
import os
import resource
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

# Vocabulary, positions, width, layers, heads, rows of a batch, tokens of a row, classes (0: language model).
SHAPES = {
    "S1": (4096, 128, 128, 4, 4, 32, 128, 0),
    "S2": (8192, 256, 256, 6, 8, 16, 256, 0),
    "S3": (50257, 256, 768, 12, 12, 4, 256, 0),
    "L30": (8192, 512, 512, 8, 8, 32, 512, 0),
    "G124": (50257, 1024, 768, 12, 12, 16, 1024, 0),
    "FT": (8192, 256, 256, 6, 8, 32, 128, 2),
    "FT-lengths": (8192, 256, 256, 6, 8, 32, 128, 2),
}


L30_INNER = 1408


class LlamaBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-6) for _ in range(2))
        self.qkv, self.attended = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.expand = nn.Linear(width, 2 * L30_INNER, bias=False)
        self.contract = nn.Linear(L30_INNER, width, bias=False)

    def forward(self, x, cos, sin):
        rows, length, width = x.shape
        qkv = self.qkv(self.norms[0](x)).view(rows, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = rotated(q, cos, sin), rotated(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attended(y.transpose(1, 2).reshape(rows, length, width))
        gate, up = self.expand(self.norms[1](x)).chunk(2, dim=-1)
        return x + self.contract(F.silu(gate) * up)


def rotated(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


class LlamaModel(nn.Module):
    def __init__(self, vocabulary, positions, width, layers, heads):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(LlamaBlock(width, heads) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        half = width // heads // 2
        angles = torch.outer(torch.arange(positions), 10000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids, targets, last):
        x = self.tokens(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, cos, sin)
        return F.cross_entropy(F.linear(self.norm(x), self.tokens.weight).flatten(0, 1), targets.flatten())


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.attended = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        rows, length, width = x.shape
        qkv = self.qkv(self.norms[0](x)).view(rows, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attended(y.transpose(1, 2).reshape(rows, length, width))
        return x + self.contract(F.gelu(self.expand(self.norms[1](x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self, vocabulary, positions, width, layers, heads, classes):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, classes, bias=False) if classes else None
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids, targets, last):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        x = self.norm(self.blocks(x))
        if self.score is not None:
            return F.cross_entropy(self.score(x[torch.arange(len(x), device=ids.device), last]), targets)
        return F.cross_entropy(F.linear(x, self.tokens.weight).flatten(0, 1), targets.flatten())


def main():
    options = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    shape, seconds = options[0], float(options[1]) if len(options) > 1 else 10.0
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    torch.manual_seed(1)
    vocabulary, positions, width, layers, heads, rows, length, classes = SHAPES[shape]
    cuda = "--cuda" in sys.argv
    device = "cuda" if cuda else "cpu"
    torch.set_float32_matmul_precision("high" if cuda else "highest")
    if shape == "L30":
        model = LlamaModel(vocabulary, positions, width, layers, heads)
    else:
        model = Model(vocabulary, positions, width, layers, heads, classes)
    model = model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    if "--graphs" in sys.argv:
        compiled = torch.compile(model, mode="reduce-overhead")
    elif "--compile" in sys.argv:
        compiled = torch.compile(model, dynamic=shape == "FT-lengths")
    else:
        compiled = model
    pool = None
    if shape == "FT-lengths":
        pool = torch.tensor([min(int(n), length) for n in open(os.environ["LENGTHS"]).read().split()])

    def step():
        lengths = torch.full((rows,), length) if pool is None else pool[torch.randint(len(pool), (rows,))]
        ids = torch.randint(vocabulary, (rows, int(lengths.max())), device=device)
        targets = (torch.randint(classes, (rows,), device=device) if classes
                   else torch.randint(vocabulary, ids.shape, device=device))
        with torch.autocast(device, dtype=torch.bfloat16, enabled=cuda):
            loss = compiled(ids, targets, (lengths - 1).to(device))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach().clone(), int(lengths.sum())

    # On the GPU the host runs ahead: the clock is read, and the loss, after ten steps.
    together = 10 if cuda else 1
    for _ in range(3):
        for _ in range(together):
            loss, _ = step()
        loss.item()
    times, tokens = [], 0
    while len(times) < 5 or sum(times) * together < seconds:
        started = time.perf_counter()
        for _ in range(together):
            loss, count = step()
        loss = loss.item()
        times.append((time.perf_counter() - started) / together)
        tokens += count
    median = statistics.median(times)
    inner = 3 * L30_INNER * width if shape == "L30" else 8 * width * width
    weights = layers * (4 * width * width + inner) + (0 if classes else width * vocabulary)
    flops = 6 * weights + 12 * layers * width * length
    speed = rows * length / median if pool is None else tokens / sum(times)
    print(json.dumps({
        "peer": "torch.compile" if compiled is not model else "torch", "shape": shape,
        "steps": len(times) * together,
        "median_ms": median * 1e3, "min_ms": min(times) * 1e3, "tokens_per_sec": speed,
        "sequences_per_sec": rows / median, "gflops": speed * flops / 1e9,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, "loss": loss,
        "gpu_mib": torch.cuda.max_memory_allocated() >> 20 if cuda else 0,
        "version": torch.__version__,
    }))


main()

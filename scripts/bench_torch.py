#!/usr/bin/env python3
"""PyTorch's time for the training steps of benches/step.rs, one JSON object.

    python scripts/bench_torch.py SHAPE [SECONDS] [--compile]

Independent of the Rust code, written for speed: fused attention, fused AdamW, fused projections. A step is
forward, backward, clipping of the gradient norm, AdamW. SHAPE is S1, S2, S3, FT or FT-lengths; the last draws
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
    "FT": (8192, 256, 256, 6, 8, 32, 128, 2),
    "FT-lengths": (8192, 256, 256, 6, 8, 32, 128, 2),
}


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
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        x = self.norm(self.blocks(x))
        if self.score is not None:
            return F.cross_entropy(self.score(x[torch.arange(len(x)), last]), targets)
        return F.cross_entropy(F.linear(x, self.tokens.weight).flatten(0, 1), targets.flatten())


def main():
    options = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    shape, seconds = options[0], float(options[1]) if len(options) > 1 else 10.0
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    torch.manual_seed(1)
    vocabulary, positions, width, layers, heads, rows, length, classes = SHAPES[shape]
    model = Model(vocabulary, positions, width, layers, heads, classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    compiled = torch.compile(model, dynamic=shape == "FT-lengths") if "--compile" in sys.argv else model
    pool = None
    if shape == "FT-lengths":
        pool = torch.tensor([min(int(n), length) for n in open(os.environ["LENGTHS"]).read().split()])

    def step():
        lengths = torch.full((rows,), length) if pool is None else pool[torch.randint(len(pool), (rows,))]
        ids = torch.randint(vocabulary, (rows, int(lengths.max())))
        targets = torch.randint(classes, (rows,)) if classes else torch.randint(vocabulary, ids.shape)
        loss = compiled(ids, targets, lengths - 1)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item(), int(lengths.sum())

    for _ in range(3):
        step()
    times, tokens = [], 0
    while len(times) < 5 or sum(times) < seconds:
        started = time.perf_counter()
        loss, count = step()
        times.append(time.perf_counter() - started)
        tokens += count
    median = statistics.median(times)
    weights = 12 * layers * width * width + (0 if classes else width * vocabulary)
    flops = 6 * weights + 12 * layers * width * length
    speed = rows * length / median if pool is None else tokens / sum(times)
    print(json.dumps({
        "peer": "torch.compile" if "--compile" in sys.argv else "torch", "shape": shape, "steps": len(times),
        "median_ms": median * 1e3, "min_ms": min(times) * 1e3, "tokens_per_sec": speed,
        "sequences_per_sec": rows / median, "gflops": speed * flops / 1e9,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, "loss": loss,
        "version": torch.__version__,
    }))


main()

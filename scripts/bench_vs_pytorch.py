#!/usr/bin/env python3
"""Our training step and PyTorch's, alternately on the same cores, as one Markdown table.

    cargo build --release --bench step
    python scripts/bench_vs_pytorch.py BENCHMARK [--python PYTHON] [--shapes S1,S2,S3,FT] [--rounds 3]
                                       [--seconds 8] [--lengths FILE] [--eager]

BENCHMARK is the program that cargo names (target/release/deps/step-...). PYTHON has torch and numpy. Each round
runs ours, then PyTorch eager, compiled, and both with the allocator settings that keep freed memory ("heap");
--eager leaves the compiled ones out.
The share is that of the best rate of a 2048 x 2048 matrix product in the same run: OpenBLAS, torch or ours.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

HEAP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_TOP_PAD_": "268435456"}
MATMUL = """
import time, {0} as m
{1}
a, b = {2}, {2}
best = 0
for _ in range(12):
    t = time.perf_counter(); a @ b; best = max(best, 2 * 2048 ** 3 / (time.perf_counter() - t))
print(best / 1e9)
"""


def run(command, environment=None):
    done = subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("benchmark")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--shapes", default="S1,S2,S3,FT")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", default="8")
    parser.add_argument("--lengths")
    parser.add_argument("--eager", action="store_true")
    options = parser.parse_args()
    torch = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench_torch.py")
    environment = {"LENGTHS": options.lengths} if options.lengths else {}
    shapes = options.shapes.split(",")
    peers = {
        "ours": ([options.benchmark], {}),
        "eager": ([options.python, torch], {}),
        "compiled": ([options.python, torch, "--compile"], {}),
        "eager, heap": ([options.python, torch], HEAP),
        "compiled, heap": ([options.python, torch, "--compile"], HEAP),
    }
    if options.eager:
        peers = {peer: how for peer, how in peers.items() if not peer.startswith("compiled")}
    results = {(shape, peer): [] for shape in shapes for peer in peers}
    rates = []
    for _ in range(options.rounds):
        rates.append(max(
            float(run([options.python, "-c", MATMUL.format("numpy", "", "m.random.rand(2048, 2048).astype('f')")])),
            float(run([options.python, "-c", MATMUL.format("torch", "", "m.rand(2048, 2048)")])),
            json.loads(run([options.benchmark, "matmul"]))["gflops"],
        ))
        for shape in shapes:
            for peer, (command, settings) in peers.items():
                line = run([*command, shape, options.seconds], {**environment, **settings})
                results[shape, peer].append(json.loads(line))
                print(f"{shape} {peer}: {line}", file=sys.stderr)
    rate = max(rates)
    print(f"best matrix product: {rate:.0f} GFLOP/s\n")
    print("| shape | ours, tokens/s | share of peak | PyTorch, best as installed | ratio (range) | ratio to best with heap"
          " | memory, ours / PyTorch |")
    print("|---|---|---|---|---|---|---|")
    for shape in shapes:
        speed = {peer: statistics.median(r["tokens_per_sec"] for r in results[shape, peer]) for peer in peers}
        best = max((peer for peer in ("eager", "compiled") if peer in peers), key=speed.get)
        with_heap = max(speed[peer] for peer in peers if peer.endswith("heap"))
        pairs = [o["tokens_per_sec"] / p["tokens_per_sec"]
                 for o, p in zip(results[shape, "ours"], results[shape, best])]
        share = statistics.median(r["gflops"] for r in results[shape, "ours"]) / rate
        memory = [statistics.median(r["peak_mib"] for r in results[shape, peer]) for peer in ("ours", best)]
        print(f"| {shape} | {speed['ours']:,.0f} | {share:.0%} | {speed[best]:,.0f} ({best}) |"
              f" {statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f}) |"
              f" {speed['ours'] / with_heap:.2f} | {memory[0]:.0f} / {memory[1]:.0f} MiB ="
              f" {memory[0] / memory[1]:.2f} |")


main()

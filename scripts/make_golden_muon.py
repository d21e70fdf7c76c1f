"""Writes tests/fixtures/golden_muon.safetensors: three steps of Muon on a tall, a wide and a square matrix, and a row.

Run: pip install numpy==2.4.6 safetensors==0.8.0, then python scripts/make_golden_muon.py
Independent of the Rust code: no product of matrices is iterated. The polynomial x (3.4445 - 4.7750 x^2 + 2.0315 x^4) of
Jordan et al. 2024 acts five times on the singular values that NumPy finds, in f64; step size and decay are those of Liu
et al. 2025 (2502.16982). src/ops/muon/tests.rs compares `ops::muon` with these numbers.
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file

TARGET = pathlib.Path(__file__).parent.parent / "tests" / "fixtures" / "golden_muon.safetensors"
SHAPES = {"tall": (12, 5), "wide": (6, 20), "square": (8, 8), "row": (1, 7)}
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, GRAD_SCALE = 0.1, 0.95, 0.5, 0.7


def orthogonal(matrix):
    """The matrix with its singular values brought near 1."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / (np.sqrt(np.sum(values**2)) + 1e-7)
    for _ in range(5):
        values = values * (3.4445 - 4.7750 * values**2 + 2.0315 * values**4)
    return (left * values) @ right


def main():
    rng = np.random.default_rng(5)
    tensors = {"settings": np.array([LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, GRAD_SCALE])}
    for name, shape in SHAPES.items():
        param, momentum = rng.normal(size=shape), np.zeros(shape)
        grads = rng.normal(size=(3, *shape))
        tensors |= {f"{name}.param": param, f"{name}.grads": grads}
        params, momenta = [], []
        for grad in GRAD_SCALE * grads:
            momentum = MOMENTUM * momentum + grad
            direction = orthogonal(grad + MOMENTUM * momentum)
            step = 0.2 * np.sqrt(max(shape)) * direction + WEIGHT_DECAY * param
            param = param - LEARNING_RATE * step
            params.append(param)
            momenta.append(momentum)
        tensors |= {f"{name}.params": np.stack(params), f"{name}.momenta": np.stack(momenta)}
    save_file(tensors, TARGET)


main()

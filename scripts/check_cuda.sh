#!/usr/bin/env bash
# Proves that the CUDA code compiles, without a GPU and without building candle's own kernels, which takes a quarter of
# an hour: Rust with the feature cuda, then every kernel of ours. Says in one line what it leaves out, and why: all of
# it where the toolkit does not run, the kernels where nvcc is not installed and the package index does not answer.
#
#   scripts/check_cuda.sh
#
# Needs what setup_cuda_toolkit.sh needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ $(uname -sm) == "Linux x86_64" ]] || { echo "CUDA: not checked, Linux x86_64 only"; exit; }
target=${CARGO_TARGET_DIR:-target}

# Rust. Its own target folder, since a later build must not take the empty files for compiled kernels.
NVCC=$PWD/scripts/cuda/no_nvcc.sh CUDA_COMPUTE_CAP=90 CUDARC_CUDA_VERSION=13000 CARGO_TARGET_DIR=$target/check-cuda \
  cargo clippy --all-targets --locked --features cuda -- -D warnings

# The kernels.
if ! command -v "${NVCC:-${CUDA_HOME:+$CUDA_HOME/bin/}nvcc}" >/dev/null; then
  toolkit=$target/cuda-toolkit
  index_answers() { python3 -m pip download --quiet --no-deps --dest "$target/check-cuda" nvidia-cuda-crt &>/dev/null; }
  if [[ ! -e $toolkit/env.sh ]] && ! index_answers; then
    echo "CUDA: kernels not checked, nvcc is not installed and the package index does not answer"
    exit
  fi
  scripts/setup_cuda_toolkit.sh "$toolkit"
  source "$toolkit/env.sh"
fi
scripts/check_kernels.sh

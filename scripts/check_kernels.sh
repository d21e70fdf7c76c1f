#!/usr/bin/env bash
# Compiles every CUDA kernel alone, for the GPUs that build.rs compiles for, and says what each costs: no GPU and no
# build of candle is needed. Warnings and registers that spill into memory are failures.
#
#   scripts/setup_cuda_toolkit.sh && source target/cuda-toolkit/env.sh    # where no toolkit is installed
#   scripts/check_kernels.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
nvcc=${NVCC:-${CUDA_HOME:+$CUDA_HOME/bin/}nvcc}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for source in src/ops/*/*.cu src/ops/base/cuda/*.cu; do
  for arch in sm_80 sm_90; do
    "$nvcc" -std=c++17 -O3 -Werror all-warnings -Xptxas -v -cubin -arch=$arch -o /dev/null "$source" 2>"$log" ||
      { cat "$log" >&2; exit 1; }
    kernels=$(grep -c 'Compiling entry' "$log")
    registers=$(grep -o 'Used [0-9]* registers' "$log" | sort -k2 -n | tail -1 | grep -o '[0-9]*')
    if grep 'spill' "$log" | grep -qv '0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads'; then
      echo "$source, $arch: registers spill" >&2
      grep -B1 -E '[1-9][0-9]* bytes (stack|spill)' "$log" >&2
      exit 1
    fi
    echo "$source $arch: $kernels kernels, at most $registers registers"
  done
done

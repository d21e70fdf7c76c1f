#!/usr/bin/env bash
# Runs a program that was built with CUDA, and its device tests, on a machine without a GPU: on the fake GPU of
# tests/fake_gpu. Ends with one table; the exit status is 0 when every check passed. A few minutes on two cores.
#
#   scripts/setup_cuda_toolkit.sh && source target/cuda-toolkit/env.sh
#   cargo build --release --features cuda
#   cargo test --release --features cuda --test train --no-run
#   scripts/cuda_on_cpu.sh TRAIN TEST [OUT]
#
# TRAIN and TEST are target/release/train and target/release/deps/train-... (the integration tests). OUT gets the fake
# libraries, runs and full logs (default: cuda-on-cpu). Needs g++, python3, and CUDA_HOME for cuda.h.
# Environment: STAGES="doctor tests runs memory" chooses.
set -uo pipefail

[[ $# -ge 2 ]] || { sed -n '2,14p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
train=$(realpath "$1") tests=$(realpath "$2") || exit 66
out=${3:-cuda-on-cpu}
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
stages=" ${STAGES:-doctor tests runs memory} "
export CARGO_MANIFEST_DIR=$root TRAIN_PROGRAM=$train RUST_BACKTRACE=0 FAKE_GPU_STRICT=1

# The fake libraries, plain and watched by AddressSanitizer. Kernels are built as the tests of the kernels build them.
build() {
  local folder=$out/$1 source
  shift
  mkdir -p "$folder"
  local options=(-std=c++17 -O2 -g1 -w -fPIC -fno-strict-aliasing -I"${CUDA_HOME:-/usr/local/cuda}/include" "$@")
  for source in driver memory module blas candle; do
    g++ "${options[@]}" -c "$root/tests/fake_gpu/$source.cpp" -o "$folder/$source.o" || return
  done
  g++ "${options[@]}" -fno-weak -I"$root/tests/kernels" -include emulate.hpp -c "$root/tests/fake_gpu/kernels.cpp" \
    -o "$folder/kernels.o" || return
  g++ -shared "$@" -o "$folder/libfakegpu.so" "$folder"/*.o || return
  for source in libcuda.so.1 libcublas.so.13 libcublasLt.so.13 libcurand.so.10; do
    ln -sf libfakegpu.so "$folder/$source"
  done
}
build watched -fsanitize=address &
watched=$!
build plain && wait "$watched" || { echo "cuda_on_cpu: the fake GPU does not build" >&2; exit 1; }
sanitizer=$(g++ -print-file-name=libasan.so)
plain=(env CUDA_LAZY_PATH="$out/plain")
# The program's own allocations are watched too. It ends with some, and has a signal stack of its own.
watched=(env CUDA_LAZY_PATH="$out/watched" LD_PRELOAD="$sanitizer" ASAN_OPTIONS=detect_leaks=0:use_sigaltstack=0)

results=() failures=0
note() { results+=("$(printf '%-28s %s' "$1" "$2")"); }
# check NAME SECONDS COMMAND...: runs it with a time limit, keeps its output, counts a failure.
check() {
  local name=$1 limit=$2 started=$SECONDS
  shift 2
  if timeout -k 5 "$limit" "$@" >"$out/$name.log" 2>&1; then
    note "$name" "passed, $((SECONDS - started)) s"
  else
    local status=$?
    note "$name" "FAILED ($status), $((SECONDS - started)) s: $(grep -m1 -E '^(fake GPU|error|==.*ERROR)' "$out/$name.log" |
      cut -c1-160)"
    failures=$((failures + 1))
  fi
}
wanted() { [[ $stages == *" $1 "* ]]; }

# The largest tensors of doctor's measurements take 3 GiB.
wanted doctor && check doctor 180 "${watched[@]}" "$train" doctor --device cuda
if wanted tests; then
  check device-tests 400 "${plain[@]}" FAKE_GPU_LAZY=1 "$tests" --test-threads=1 --nocapture cuda::
  check street-and-resume 300 "${plain[@]}" FAKE_GPU_LAZY=1 "$tests" --test-threads=1 --nocapture street:: resume::
fi

# Tiny runs, with everything on that has kernels of its own.
work=$out/runs
rm -rf "$work" && mkdir -p "$work"
cp "$root/tests/fixtures/fake_gpu/"*.toml "$work"
python3 - "$work" <<'PYTHON'
import pathlib, sys

words = "the cat dog bird saw ate found red blue stone fish tree".split()
line = lambda i: " ".join(words[(i * 7 + j * j + i * j) % len(words)] for j in range(24))
folder = pathlib.Path(sys.argv[1])
(folder / "corpus.txt").write_text("".join(f"{line(i)} on day {i}.\n\n" for i in range(120)))
row = lambda i: f"spam\tcall {i} now to win {line(i)}" if i % 4 == 0 else f"ham\tI saw {line(i)}"
(folder / "messages.tsv").write_text("".join(row(i) + "\n" for i in range(80)))
PYTHON

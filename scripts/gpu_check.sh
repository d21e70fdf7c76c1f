#!/usr/bin/env bash
# Proves a prebuilt program on this machine's GPU: doctor, device tests, parity, benchmarks beside PyTorch. Ends with
# one table; the exit status is 0 when every check passed. Under 8 minutes on an H200-class machine.
#
#   cargo build --release --features cuda
#   cargo build --release --features cuda --bench step
#   cargo test --release --features cuda --test train --no-run
#   scripts/gpu_check.sh TRAIN TEST BENCH [OUT]
#
# TRAIN, TEST and BENCH are target/release/train, target/release/deps/train-... (the integration tests) and
# target/release/deps/step-..., stripped or not, each plain or as .gz. OUT gets full logs (default: gpu-check).
# PyTorch is taken from python3, or TRAIN_PYTHON; without it the table has our figures alone.
# Environment: STAGES="doctor tests parity bench kernels demo" chooses, SECONDS_EACH=4 is the time of a benchmark.
set -uo pipefail

[[ $# -ge 3 ]] || { sed -n '2,15p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(dirname "$here")
out=${4:-gpu-check}
mkdir -p "$out/bin"
out=$(cd "$out" && pwd -P)
python=${TRAIN_PYTHON:-python3}
stages=" ${STAGES:-doctor tests parity bench kernels demo} "
each=${SECONDS_EACH:-4}
# Without a GPU the tests would skip what they are for, and pass.
export CARGO_MANIFEST_DIR=$root RUST_BACKTRACE=0 TRAIN_REQUIRE=gpu

place() {
  case $1 in
    *.gz) gunzip -c "$1" >"$2" ;;
    *) cp "$1" "$2" ;;
  esac && chmod +x "$2"
}
place "$1" "$out/bin/train" && place "$2" "$out/bin/tests" && place "$3" "$out/bin/step" || exit 66
train=$out/bin/train bench=$out/bin/step
export TRAIN_PROGRAM=$train

# The CUDA libraries that come with PyTorch, where no toolkit is installed.
libraries=$("$python" -c 'import glob, os, torch
root = os.path.dirname(os.path.dirname(torch.__file__))
print(":".join(glob.glob(root + "/nvidia/*/lib") + [os.path.dirname(torch.__file__) + "/lib"]))' 2>/dev/null)
export LD_LIBRARY_PATH=${libraries:+$libraries:}${LD_LIBRARY_PATH:-}

results=() failures=0
note() { results+=("$(printf '%-26s %s' "$1" "$2")"); }
# check NAME SECONDS COMMAND...: runs it with a time limit, keeps its output, counts a failure.
check() {
  local name=$1 limit=$2 started=$SECONDS status
  shift 2
  timeout "$limit" "$@" >"$out/$name.log" 2>&1
  status=$?
  if ((status == 0)); then
    note "$name" "passed, $((SECONDS - started)) s"
  else
    note "$name" "FAILED ($status), $((SECONDS - started)) s: $(last_line "$name" | cut -c1-160)"
    failures=$((failures + 1))
  fi
  return $status
}
last_line() { grep -v '^ *$' "$out/$1.log" | tail -1; }
wanted() { [[ $stages == *" $1 "* ]]; }

# Without a GPU nothing else is run.
if wanted doctor; then
  check doctor 90 "$train" doctor --device cuda
  (($? != 69)) || { last_line doctor >&2; exit 69; }
fi
if wanted tests; then
  check device-tests 150 "$out/bin/tests" --test-threads=1 --nocapture cuda::
  check golden 60 "$out/bin/tests" --test-threads=1 --nocapture golden::
fi
wanted parity && check parity 120 env TRAIN_PYTHON="$python" "$out/bin/tests" --test-threads=1 --nocapture parity::

# One line of JSON, or nothing; what went wrong stays in the log.
measure() {
  local name=$1 limit=$2
  shift 2
  timeout "$limit" "$@" 2>"$out/$name.err" | tail -1 >"$out/$name.json"
}
if wanted bench; then
  measure matmul 60 "$bench" matmul cuda bf16
  for shape in G124 L30 S2; do
    measure "$shape-train" 60 "$bench" "$shape" "$each" cuda bf16
    if "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
      measure "$shape-eager" 60 "$python" "$here/bench_torch.py" "$shape" "$each" --cuda
      measure "$shape-compile" 100 "$python" "$here/bench_torch.py" "$shape" "$each" --cuda --compile
      measure "$shape-graphs" 100 "$python" "$here/bench_torch.py" "$shape" "$each" --cuda --graphs
    fi
  done
fi
if wanted kernels; then
  for shape in G124 L30 S2; do
    timeout 60 "$bench" "$shape" 1 cuda bf16 kernels >/dev/null 2>"$out/$shape-kernels.txt"
  done
fi
if wanted demo; then
  started=$SECONDS
  (cd "$out" && timeout 150 "$train" compare --device cuda --set output_dir="$out/demo" >"$out/demo.log" 2>&1)
  status=$?
  note demonstration "$([[ $status == 0 ]] && echo passed || echo "FAILED ($status)"), $((SECONDS - started)) s"
  [[ $status == 0 ]] || failures=$((failures + 1))
fi

echo
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || true
if ((${#results[@]})); then printf '%s\n' "${results[@]}"; fi
if wanted bench; then
  "$python" - "$out" <<'PYTHON' || failures=$((failures + 1))
import json, pathlib, sys

out = pathlib.Path(sys.argv[1])


def read(name):
    try:
        return json.loads((out / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None


product = read("matmul")
rate = product["gflops"] if product else float("nan")
print(f"bf16 product of 8192 x 8192: {rate / 1e3:.0f} TFLOP/s")
print(f"{'shape':<7}{'peer':<16}{'tokens/s':>12}{'ms':>9}{'TFLOP/s':>9}{'of product':>12}{'GPU MiB':>9}{'loss':>8}")
missing = False
for shape in ("G124", "L30", "S2"):
    ours, best = read(f"{shape}-train"), None
    missing |= ours is None
    for peer in ("train", "eager", "compile", "graphs"):
        run = read(f"{shape}-{peer}")
        if run is None:
            print(f"{shape:<7}{peer:<16}{'no figure, see ' + shape + '-' + peer + '.err':>12}")
            continue
        print(
            f"{shape:<7}{peer:<16}{run['tokens_per_sec']:>12.0f}{run['median_ms']:>9.2f}{run['gflops'] / 1e3:>9.1f}"
            f"{run['gflops'] / rate:>12.1%}{run['gpu_mib']:>9}{run['loss']:>8.3f}"
        )
        if peer != "train" and (best is None or run["tokens_per_sec"] > best):
            best = run["tokens_per_sec"]
    if ours and best:
        print(f"{shape:<7}ours over PyTorch's fastest: {ours['tokens_per_sec'] / best:.2f}")
sys.exit(missing)
PYTHON
fi
if wanted kernels; then
  for shape in G124 L30 S2; do
    echo
    echo "$shape, time by kernel"
    head -16 "$out/$shape-kernels.txt"
  done
fi
((failures == 0))

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
# Environment: STAGES="doctor tests runs memory" chooses; "long" adds hundreds of steps, which take ten minutes.
set -uo pipefail

[[ $# -ge 2 ]] || { sed -n '2,12p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
train=$(realpath "$1") tests=$(realpath "$2") || exit 66
out=${3:-cuda-on-cpu}
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
stages=" ${STAGES:-doctor tests runs memory} "
export CARGO_MANIFEST_DIR=$root TRAIN_PROGRAM=$train RUST_BACKTRACE=0 FAKE_GPU_STRICT=1 TRAIN_REQUIRE=gpu

# The fake libraries, plain and watched by AddressSanitizer. Kernels are built as the tests of the kernels build them.
build() {
  local folder=$out/$1 fakes=$root/tests/fake_gpu source
  local include=${CUDA_HOME:-/usr/local/cuda}/include
  shift
  mkdir -p "$folder"
  if [[ -e $folder/libfakegpu.so ]] &&
    [[ -z $(find "$fakes" "$root/tests/kernels" "$root/src/ops" -type f -newer "$folder/libfakegpu.so") ]]; then
    return
  fi
  local options=(-std=c++17 -O2 -g1 -w -fPIC -fno-strict-aliasing "$@")
  for source in driver memory module blas candle; do
    g++ "${options[@]}" -I"$include" -c "$fakes/$source.cpp" -o "$folder/$source.o" || return
  done
  g++ "${options[@]}" -fno-weak -I"$root/tests/kernels" -include emulate.hpp -c "$fakes/kernels.cpp" \
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
    local why=$(grep -m1 -E '^(fake GPU|error|==.*ERROR)' "$out/$name.log" | cut -c1-160)
    note "$name" "FAILED ($status), $((SECONDS - started)) s: $why"
    failures=$((failures + 1))
  fi
}
wanted() { [[ $stages == *" $1 "* ]]; }

# The largest tensors of doctor's measurements take 3 GiB.
wanted doctor && check doctor 180 "${watched[@]}" "$train" doctor --device cuda
if wanted tests; then
  # Hundreds of steps take ten minutes; the runs below say as much.
  check device-tests 300 "${plain[@]}" FAKE_GPU_LAZY=1 "$tests" --test-threads=1 --nocapture --skip two_hundred \
    --skip two_runs cuda:: golden::a_gpu resume::five
fi
if wanted long; then
  check losses-of-many-steps 1500 "${plain[@]}" FAKE_GPU_LAZY=1 "$tests" --test-threads=1 cuda::two
fi

# Tiny runs of both families, with dropout, ragged batches, the head alone first and labels beside texts.
work=$out/runs
rm -rf "$work" && mkdir -p "$work"
cd "$work" || exit 1
python3 - <<'PYTHON'
import pathlib

words = "the cat dog bird saw ate found red blue stone fish tree".split()
line = lambda i: " ".join(words[(i * 7 + j * j + i * j) % len(words)] for j in range(8 + i % 9))
text = lambda i: f"{line(i)} on day {i}. {line(3 * i + 1)}.\n\n"
row = lambda i: f"spam\tcall {i} now to win {line(i)}\n" if i % 4 == 0 else f"ham\tI saw {line(i)}\n"
pathlib.Path("corpus.txt").write_text("".join(map(text, range(120))))
pathlib.Path("messages.tsv").write_text("".join(map(row, range(80))))
train = "[train]\nmicro_batch_size = 4\nseq_len = 24\nmax_steps = 6\nmax_epochs = 0.0\nlog_interval = 3\n"
train += "eval_interval = 6\nsave_interval = 3\ngrad_accum_steps = 2\ndropout = 0.1\n"
train += "[optim]\nlearning_rate = 0.01\nwarmup_steps = 2\n"
sizes = {
    "llama": 'model_type = "llama"\nhidden_size = 32\nintermediate_size = 48\nnum_hidden_layers = 2\n'
    "num_attention_heads = 2\nnum_key_value_heads = 1\nmax_position_embeddings = 32\n",
    "gpt2": 'model_type = "gpt2"\nn_embd = 32\nn_layer = 2\nn_head = 2\nn_positions = 32\n',
}
for family, model in sizes.items():
    pathlib.Path(f"pretrain-{family}.toml").write_text(
        'prompts = ["the cat"]\nbleu_prompts = 2\n[sampling]\nmax_new_tokens = 4\n[data]\ntrain = ["corpus.txt"]\n'
        f'validation_fraction = 0.2\ncache_dir = "cache"\n[tokenizer]\nvocab_size = 300\n[model]\n{model}{train}'
    )
    pathlib.Path(f"finetune-{family}.toml").write_text(
        f'init_from = "cpu-pretrain-{family}"\n[data]\ntrain = "messages.tsv"\n'
        f'[classifier]\nlanguage_model_weight = 0.5\nhead_only_fraction = 0.4\n' + train.replace("0.01", "0.001")
    )
PYTHON

# same A B: both runs ended with the same bits. near BAND A B: with nearly the same losses.
same() { cmp "$1/model/model.safetensors" "$2/model/model.safetensors"; }
near() {
  python3 - "$@" <<'PYTHON'
import json, sys

keys = ("train_loss", "val_loss")
events = lambda run: map(json.loads, open(run + "/metrics.jsonl"))
read = lambda run: [event[key] for event in events(run) for key in keys if key in event]
band, (a, b) = float(sys.argv[1]), map(read, sys.argv[2:])
distance = max(abs(x - y) for x, y in zip(a, b)) if len(a) == len(b) > 0 else float("inf")
print(f"{sys.argv[3]} and {sys.argv[2]}: losses at most {distance:.1e} apart, allowed {band:.0e}")
sys.exit(distance > band)
PYTHON
}
# run NAME PHASE FAMILY VARIABLES-AND-COMMAND -- OPTIONS: the phase into the folder NAME.
run() {
  local name=$1 phase=$2 family=$3
  shift 3
  local environment=()
  while [[ $1 != -- ]]; do environment+=("$1"); shift; done
  shift
  "${environment[@]}" "$train" "$phase" --config "$phase-$family.toml" --set output_dir="$name" "$@"
}
# On the CPU; on the GPU in f32, in bf16, again with late work and the other order of threads, and under the sanitizer.
phase() {
  local phase=$1 family=$2
  local of=$phase-$family
  run "cpu-$of" "$phase" "$family" env -- --device cpu || return
  run "f32-$of" "$phase" "$family" "${watched[@]}" -- --device cuda --set train.precision=f32 || return
  run "bf16-$of" "$phase" "$family" "${plain[@]}" -- --device cuda --set train.precision=bf16 || return
  run "late-$of" "$phase" "$family" "${plain[@]}" FAKE_GPU_LAZY=1 FAKE_GPU_ORDER=backward -- --device cuda \
    --set train.precision=bf16 || return
  near 1e-4 "cpu-$of" "f32-$of" && near 2e-2 "cpu-$of" "bf16-$of" && same "bf16-$of" "late-$of"
}
# Killed in the middle of a run of forty steps after a checkpoint, and resumed.
killed() {
  local steps=(--device cuda --set train.max_steps=40 --set optim.schedule=\"constant\")
  run whole pretrain llama "${plain[@]}" -- "${steps[@]}" || return
  run killed pretrain llama "${plain[@]}" -- "${steps[@]}" &
  local running=$!
  until compgen -G "killed/checkpoints/step_0000*/state.json" >/dev/null || ! kill -0 "$running" 2>/dev/null; do sleep 0.05; done
  pkill -KILL -P "$running"
  wait "$running"
  [[ ! -e killed/results.json ]] || { echo "error: the run ended before it was killed"; return 1; }
  run killed pretrain llama "${plain[@]}" FAKE_GPU_LAZY=1 -- "${steps[@]}" --resume || return
  same whole killed
}
# Too large for the memory at first; what is then advised fits.
memory() {
  local small=("${plain[@]}" FAKE_GPU_MIB=36) line advised
  local options=(--device cuda --set train.precision=f32 --set train.max_steps=1)
  run crowded pretrain llama "${small[@]}" -- "${options[@]}" --set train.micro_batch_size=96 2>&1 | tee crowded.log
  [[ ${PIPESTATUS[0]} == 69 ]] || { echo "error: expected the exit status 69"; return 1; }
  line=$(grep -o 'set train.micro_batch_size=[0-9]* and train.grad_accum_steps=[0-9]*' crowded.log) || return
  read -ra advised <<<"${line//set /--set }"
  advised=("${advised[0]}" "${advised[1]}" --set "${advised[3]}")
  run advised pretrain llama "${small[@]}" -- "${options[@]}" "${advised[@]}"
}
export -f run near same phase killed memory
# check takes a command, and a limit of time a process.
in_shell() { echo "$(declare -p plain watched train); $*"; }
if wanted runs; then
  for family in llama gpt2; do
    for phase in pretrain finetune; do check "$phase-$family" 120 bash -c "$(in_shell phase $phase $family)"; done
  done
  check killed-and-resumed 120 bash -c "$(in_shell killed)"
fi
wanted memory && check out-of-memory 60 bash -c "$(in_shell memory)"

echo
printf '%s\n' "${results[@]}"
((failures == 0))

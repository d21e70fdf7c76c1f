#!/usr/bin/env bash
# Trains a model of 2,500 parameters for many steps and looks at what the process holds: memory, handles, threads, and
# CPU time a step, as a table. Fails where one of them grows. Needs Linux; writes a temporary folder.
#
#   scripts/soak.sh [STEPS] [TRAIN]      default: 500,000 steps of target/release/train, one to two minutes a core
set -euo pipefail
steps=${1:-500000}
train=$(realpath "${2:-$(dirname "$0")/../target/release/train}")
folder=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

for i in $(seq 200); do printf 'On day %d the old man walked to the river and counted %d boats.\n\n' "$i" $((7 * i)); done > corpus.txt
cat > soak.toml <<END
output_dir = "run"
prompts = []
bleu_prompts = 0
[data]
train = ["corpus.txt"]
validation_fraction = 0.2
cache_dir = "cache"
[tokenizer]
vocab_size = 260
[model]
model_type = "llama"
hidden_size = 8
intermediate_size = 16
num_hidden_layers = 1
num_attention_heads = 1
num_key_value_heads = 1
max_position_embeddings = 16
[train]
micro_batch_size = 1
seq_len = 8
max_steps = $steps
max_epochs = 0.0
log_interval = 10
eval_interval = $((steps / 20))
save_interval = $((steps / 50))
END

RAYON_NUM_THREADS=1 "$train" pretrain --config soak.toml >out.txt 2>err.txt &
pid=$!
ticks=$(getconf CLK_TCK)
# One line a second: step, resident kB, handles, threads, CPU seconds.
while state=$(awk '/^State/ {print $2}' "/proc/$pid/status" 2>/dev/null) && [ -n "$state" ] && [ "$state" != Z ]; do
  step=$(tail -n 1 run/metrics.jsonl | sed -n 's/.*"step":\([0-9]*\).*/\1/p') || true
  memory=$(awk '/^VmRSS/ {print $2}' "/proc/$pid/status") || true
  threads=$(awk '/^Threads/ {print $2}' "/proc/$pid/status") || true
  handles=$(ls "/proc/$pid/fd" | wc -l) || true
  cpu=$(awk -v ticks="$ticks" '{print ($14 + $15) / ticks}' "/proc/$pid/stat") || true
  [ -z "$step" ] || [ -z "$memory" ] || echo "$step $memory $handles $threads $cpu" >> samples.txt
  sleep 1
done 2>/dev/null
wait "$pid" || { tail -n 1 err.txt; exit 1; }

# Whatever a run takes once is there after a tenth of it; the end, with results and reports, is not looked at.
awk -v steps="$steps" '
  $1 > last && $1 >= steps / 10 && $1 < steps {
    part = int(($1 - steps / 10) / (steps * 9 / 10) * 15)
    if (!(part in from)) { from[part] = last_step; cpu_from[part] = last_cpu }
    to[part] = $1; cpu_to[part] = $5; memory[part] = $2; handles[part] = $3; threads[part] = $4
    least = (least == 0 || $2 < least) ? $2 : least; most = $2 > most ? $2 : most
    most_handles = $3 > most_handles ? $3 : most_handles; most_threads = $4 > most_threads ? $4 : most_threads
    parts = part > parts ? part : parts
  }
  { last = $1; last_step = $1; last_cpu = $5 }
  END {
    print "| to step | memory kB | handles | threads | CPU ms a step |"; print "|---|---|---|---|---|"
    for (part = 0; part <= parts; part++) if (part in from) {
      ms = 1000 * (cpu_to[part] - cpu_from[part]) / (to[part] - from[part])
      printf "| %d | %d | %d | %d | %.3f |\n", to[part], memory[part], handles[part], threads[part], ms
      if (part < 5) { early += ms; n_early++ } else if (part > parts - 5) { late += ms; n_late++ }
    }
    if (!n_early || !n_late) { print "too few samples: more steps"; exit 1 }
    grown = most > least * 1.05 + 1024; slower = late / n_late > 1.3 * early / n_early
    leak = most_handles > 12 || most_threads > 4
    printf "memory %d to %d kB, at most %d handles and %d threads, %.3f ms a step early, %.3f late: %s\n", least, most, \
      most_handles, most_threads, early / n_early, late / n_late, (grown || slower || leak) ? "NOT FLAT" : "flat"
    exit grown || slower || leak
  }' samples.txt

#!/usr/bin/env bash
# Fuzzes each format for so many seconds, one after another on one core at low priority, and prints a table. Needs
# nightly Rust and cargo-fuzz. The sanitizer is off: the readers are safe code, and their memory is counted by
# fuzz/memory.rs. Ends with 1 when something was found.
#   scripts/fuzz.sh SECONDS [TARGET]...
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?"usage: scripts/fuzz.sh SECONDS [TARGET]..."}
shift
export RAYON_NUM_THREADS=1 RUSTUP_TOOLCHAIN=${RUSTUP_TOOLCHAIN:-nightly}
[ -w /dev/shm ] && export TMPDIR=/dev/shm

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(cargo fuzz list)
fi
nice -n 19 cargo fuzz build --sanitizer none

found=0
echo "| target | executions | seconds | finds |"
echo "|---|---|---|---|"
for target in "${targets[@]}"; do
  log=$(mktemp)
  status=0
  nice -n 19 cargo fuzz run --sanitizer none "$target" -- \
    -max_total_time="$seconds" -max_len=65536 -len_control=50 -timeout=20 -rss_limit_mb=4096 \
    -print_final_stats=1 -verbosity=0 >"$log" 2>&1 || status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
  finds=$(grep -c 'Test unit written to' "$log" || true)
  echo "| $target | ${runs:-unknown} | $seconds | $finds |"
  if [ "$status" -ne 0 ]; then
    found=1
    grep -E 'panicked|more memory|Test unit written|^ERROR|: ' "$log" | tail -5 >&2
  fi
  rm -f "$log"
done
exit $found

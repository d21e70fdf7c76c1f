#!/usr/bin/env bash
# The long way through tests/faults: every call of a story goes wrong, hundreds of kills, rounds of processes that get
# in each other's way. Prints a table of what was done; fails as the tests do. Needs Linux with glibc and cc. Some hours
# on two cores; with a name of a test, such as `a_run_that_goes_on`, that one alone.
#
#   scripts/faults.sh [TEST]
#
# TRAIN_FAULTS  times as many places as in `cargo test`      (1000: all)
# TRAIN_CALL    the kind of call that goes wrong           (every kind)
# TRAIN_KILLS   kills and signals for each test of kills.rs  (500)
# TRAIN_ROUNDS  rounds for each test of crowd.rs             (12)
# TRAIN_LIMITS  times as many limits as in `cargo test`      (16)
set -uo pipefail
cd "$(dirname "$0")/.."
log=${CARGO_TARGET_DIR:-target}/faults.log
export TRAIN_FAULTS=${TRAIN_FAULTS:-1000} TRAIN_KILLS=${TRAIN_KILLS:-500}
export TRAIN_ROUNDS=${TRAIN_ROUNDS:-12} TRAIN_LIMITS=${TRAIN_LIMITS:-16}
cargo test --locked --test train "${1:-faults::}" -- --nocapture 2>&1 | tee "$log" | grep -E '^(faults|strikes|rounds|limits|wrong) ' >&2
status=${PIPESTATUS[0]}

awk -F' [|] ' '
  $1 == "faults" {
    split($4, ends, ", ")
    for (i in ends) { split(ends[i], end, ": "); count[$2, end[1]] += end[2]; all[$2] += end[2]; names[end[1]] }
  }
  $1 == "wrong" { wrong[$2] = $3 }
  $1 == "strikes" { other = other "| " $2 ", " $3 " | " $4 " |\n" }
  $1 == "rounds" { other = other "| " $2 " | " $3 " rounds |\n" }
  $1 == "limits" { limits[$2]++ }
  END {
    print "| story | faults | killed | unharmed | ended with an error, by exit code | wrong |"; print "|---|---|---|---|---|---|"
    for (story in all) {
      codes = ""
      for (name in names) if (name ~ /^[0-9]+$/ && count[story, name]) codes = codes " " name ": " count[story, name]
      printf "| %s | %d | %d | %d |%s | %d |\n", story, all[story], count[story, "killed"], count[story, "unharmed"], codes, wrong[story]
    }
    print "\n| what | counts |"; print "|---|---|"
    printf "%s", other
    for (story in limits) printf "| limits, %s | %d runs |\n", story, limits[story]
  }' "$log"
grep -E '^test .*FAILED|^test result' "$log"
exit "$status"

#!/usr/bin/env bash
# Runs the tests of the modules with unsafe code under AddressSanitizer: operations and their kernels, memory of the
# process, signals, token files, tables. Needs nightly Rust on x86-64 Linux. Miri cannot run the kernels, which use AVX.
#   scripts/sanitize.sh [TEST NAME]...
set -euo pipefail
cd "$(dirname "$0")/.."
host=x86_64-unknown-linux-gnu
export RUSTUP_TOOLCHAIN=${RUSTUP_TOOLCHAIN:-nightly} RUSTFLAGS="-Zsanitizer=address ${RUSTFLAGS:-}"
# Thread pools live until the end of the process.
export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-}

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  names=(ops:: process:: signals:: token_file::)
fi
cargo test --locked --lib --target "$host" --target-dir target/sanitized -- "${names[@]}"

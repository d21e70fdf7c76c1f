#!/usr/bin/env bash
# Sets up what `cargo build --release --features cuda` needs, on a Linux x86_64 machine that may have
# neither GPU nor driver nor CUDA toolkit:
#   1. nvcc, headers and the static CUDA runtime: pinned wheels from PyPI, about 105 MB, 272 MB unpacked;
#   2. libcuda, libcublas and their sisters as lazy libraries (cuda/lazy.c): they open the real ones at the
#      first call, so the program starts anywhere and answers with an error where there is no driver.
#
#   scripts/setup_cuda_toolkit.sh [DIR]     # default: cuda-toolkit in cargo's target folder
#   source DIR/env.sh
#   cargo build --release --features cuda
#
# Needs bash, python3 with pip, cargo, gcc, g++, ar. Running it again is cheap. Moving DIR rebuilds candle.
# Environment: CUDA_COMPUTE_CAP, the GPU's compute capability without the dot (default 90, H100 and H200).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
dir=${1:-${CARGO_TARGET_DIR:-$here/../target}/cuda-toolkit}
[[ $(uname -sm) == "Linux x86_64" ]] || { echo "setup_cuda_toolkit: Linux x86_64 only" >&2; exit 1; }
for tool in python3 cargo gcc g++ ar; do
  command -v "$tool" >/dev/null || { echo "setup_cuda_toolkit: $tool is missing; install it" >&2; exit 1; }
done
mkdir -p "$dir"
dir=$(cd "$dir" && pwd -P)
cuda=$dir/site/nvidia/cu13   # the wheels merge here into one tree that nvcc takes as its home

# 1. The toolkit.
wheels=$here/cuda/requirements.txt
if ! cmp -s "$wheels" "$dir/site/.installed"; then
  rm -rf "$dir/site"
  python3 -m pip install --quiet --no-deps --only-binary :all: --require-hashes --target "$dir/site" -r "$wheels"
  chmod +x "$cuda"/bin/* "$cuda"/nvvm/bin/*
  ln -s lib "$cuda/lib64"    # nvcc and candle's build scripts say lib64
  cp "$wheels" "$dir/site/.installed"
fi

# 2. The lazy libraries, one function for each that cudarc can call. Its version is the one in Cargo.lock.
lazy=$dir/lazy
stubs=$cuda/lib/stubs        # where cudarc's build script looks
mkdir -p "$lazy" "$stubs"
cargo metadata --quiet --locked --format-version 1 --features cuda --filter-platform x86_64-unknown-linux-gnu \
  --manifest-path "$here/../Cargo.toml" | python3 "$here/cuda/trampolines.py" "$lazy"
gcc -O2 -fPIC -Wall -Wextra -I"$lazy" -c "$here/cuda/lazy.c" -o "$lazy/lazy.o"
gcc -fPIC -c "$lazy/trampolines.S" -o "$lazy/trampolines.o"
rm -f "$stubs/libcudalazy.a"
ar crs "$stubs/libcudalazy.a" "$lazy/trampolines.o" "$lazy/lazy.o"
# What the linker takes for -lcuda and so on is a text that names the real input.
for library in cuda cublas cublasLt curand nvrtc cudnn nccl; do
  echo 'INPUT(-lcudalazy)' >"$stubs/lib$library.so"
done
echo 'INPUT(-lcudart_static -ldl -lrt -lpthread)' >"$stubs/libcudart.so"

# 3. The environment of the build.
cat >"$dir/env.sh" <<ENV
export CUDA_HOME='$cuda'
export CUDA_PATH="\$CUDA_HOME" CUDA_ROOT="\$CUDA_HOME" CUDA_TOOLKIT_ROOT_DIR="\$CUDA_HOME"
export NVCC="\$CUDA_HOME/bin/nvcc" CUDA_COMPUTE_CAP='${CUDA_COMPUTE_CAP:-90}'
export CUDARC_CUDA_VERSION=13000
export CUDAFORGE_THREADS="\${CUDAFORGE_THREADS:-\$(nproc)}"   # its own default is half the cores
case ":\$PATH:" in *":\$CUDA_HOME/bin:"*) ;; *) export PATH="\$CUDA_HOME/bin:\$PATH" ;; esac
ENV
"$cuda/bin/nvcc" --version | tail -2
echo "ready: source $dir/env.sh"

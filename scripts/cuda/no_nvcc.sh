#!/usr/bin/env bash
# Stands in for nvcc where Rust is checked and nothing is linked: makes the files that nvcc would make, empty.
# Source of the arguments: build.rs (-fatbin), and that of candle-kernels (--ptx, -c, --lib).
set -euo pipefail
folder='' output='' source=''
while (($#)); do
  case $1 in
    --version) exit ;;
    --output-directory) folder=$2 && shift ;;
    -o) output=$2 && shift ;;
    *.cu) source=$1 ;;
  esac
  shift
done
: >"${output:-${folder:?}/$(basename "$source" .cu).ptx}"

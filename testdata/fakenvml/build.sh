#!/bin/sh
# Builds the fake NVML library: ./build.sh OUTDIR [SYMBOL to leave out…]
# gives OUTDIR/libnvidia-ml.so.1. A symbol that is left out is one that an older
# driver lacks. Put OUTDIR into LD_LIBRARY_PATH to use it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh OUTDIR [SYMBOL to leave out...]}
shift
mkdir -p "$out"
work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
{
    echo '{ global: nvml*; local:'
    for symbol in "$@"; do echo "$symbol;"; done
    echo '*; };'
} >"$work/exports"
${CC:-gcc} -std=gnu11 -O2 -Wall -Wextra -Werror -fPIC -shared -Wl,-soname,libnvidia-ml.so.1 \
    -Wl,--version-script="$work/exports" -o "$work/lib" "$here/fakenvml.c" "$here/script.c" -lm -lpthread
mv "$work/lib" "$out/libnvidia-ml.so.1" # in one step: another build may run beside this one

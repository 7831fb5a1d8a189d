#!/bin/sh
# Builds the fake NVML library as OUTDIR/libnvidia-ml.so.1:
#
#   ./build.sh OUTDIR [SYMBOL to leave out...]
#
# Leaving out symbols simulates an older driver that lacks them. To use the library, put
# OUTDIR into LD_LIBRARY_PATH.
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
mv "$work/lib" "$out/libnvidia-ml.so.1" # atomically: another build may run at the same time

#!/usr/bin/env bash
# Installs this machine's wheel of dist into a fresh Python environment, as a user does, and runs
# what it brings: the program, the demo on the fake NVML library, a bracket, and the reader of events.
# Then it runs the binary for the other architecture, if qemu can.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PATH=/usr/local/bin:/usr/bin:/bin # no vobs of the user's

case $(uname -m) in
x86_64) other=aarch64 other_go=arm64 ;;
aarch64) other=x86_64 other_go=amd64 ;;
*) echo "SKIPPED: check_install: there is no wheel for $(uname -m)" >&2; exit 0 ;;
esac
wheel=$(ls dist/vobs-*_"$(uname -m)".whl) || { echo "check_install: no wheel: make dist first" >&2; exit 1; }

# Nothing but the wheel: the program works without its Python dependencies.
python=${PYTHON:-$(command -v python3)}
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps "$wheel"
cd "$work"
vobs=$work/venv/bin/vobs
"$vobs" version
test "$(venv/bin/python -m vobs version)" = "$("$vobs" version)"
PATH=$work/venv/bin:$PATH vobs run -q -o bracket.json --label case=wheel -- bash -c 'sleep 1; exit 3' && code=0 || code=$?
test "$code" = 3
"$vobs" validate --strict bracket.json

# The demo, with the wheel's binary in the place of bin/vobs.
mkdir -p tree/bin tree/internal/demo tree/testdata/fakenvml
ln -s "$vobs" tree/bin/vobs
cp "$root/internal/demo/demo.sh" tree/internal/demo/
ln -s "$root/testdata/fakenvml/build" tree/testdata/fakenvml/build
tree/internal/demo/demo.sh >demo.json
"$vobs" validate --strict demo.json

# The loader binds all symbols at the start: no GPU figures, and no crash.
LD_BIND_NOW=1 LD_LIBRARY_PATH=$root/testdata/fakenvml/build "$vobs" run -q -o bind_now.json -- sleep 0.5
grep -q 'unset it in vobs' bind_now.json

# The reader of events, with pydantic.
if venv/bin/python -m pip install -q --disable-pip-version-check "pydantic>=2.7,<3"; then
	venv/bin/python - <<'PYTHON'
import vobs

(bracket,), (demo,) = vobs.read("bracket.json"), vobs.read("demo.json")
assert bracket.run.exit_code == 3 and bracket.run.labels == {"case": "wheel"}
assert demo.gpus and demo.gpus[0].peak_bytes > 2**34, "no GPU was read through the fake NVML library"
assert demo.engine and demo.engine.kv_cache.usage.peak > 0.5
assert vobs.__version__ in demo.run.vobs_version.replace("-dev", ".dev0"), vobs.__version__
print("check_install: read by vobs", vobs.__version__)
PYTHON
else
	echo "SKIPPED: check_install: pydantic cannot be installed from PyPI: the reader of events was not tried" >&2
fi

# The other architecture.
archive=$(ls "$root"/dist/vobs_*_linux_$other_go.tar.gz 2>/dev/null) || { echo "SKIPPED: check_install: no archive for $other_go in dist (make dist)" >&2; exit 0; }
if ! command -v "qemu-$other-static" >/dev/null || [ ! -d "/usr/$other-linux-gnu" ]; then
	echo "SKIPPED: check_install: the binary for $other_go was not run (apt-get install qemu-user-static libc6-arm64-cross, or libc6-amd64-cross)" >&2
	exit 0
fi
mkdir other
tar xzf "$archive" -C other --strip-components 1
"qemu-$other-static" -L "/usr/$other-linux-gnu" other/vobs version
"qemu-$other-static" -L "/usr/$other-linux-gnu" other/vobs validate --strict bracket.json

#!/usr/bin/env bash
# Tests the completion scripts by typing into real shells: bash with bash-completion, zsh and
# fish, and the manual page with groff and mandoc. Fetches Debian's packages and unpacks them into
# .e2e/shells without installing anything. If a package cannot be fetched, it prints
# "e2e-shells: SKIPPED" and exits with status 0.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=e2e/debian.sh
. e2e/debian.sh
work=$PWD/.e2e/shells
root=$work/root

skip() {
	echo "e2e-shells: SKIPPED: $1" >&2
	exit 0
}

mkdir -p "$work"
[ -d "$root" ] || unpack_debian "$work" "$root" main zsh zsh-common fish fish-common libpcre2-32-0 bash-completion groff-base libuchardet0 mandoc ||
	skip "$debian_problem"
command -v bash >/dev/null || skip "bash is not installed"
vobs=${VOBS:-$PWD/bin/vobs}
VOBS=$vobs VOBS_E2E_SHELLS=$root go test -count=1 -timeout 10m -tags urfave_cli_no_docs "$@" ./e2e/shells

page=$work/vobs.1
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s) "$vobs" man >"$page"
problems=$("$root/usr/bin/mandoc" -Tlint -Wwarning "$page") || { echo "e2e-shells: FAIL: mandoc: $problems" >&2; exit 1; }
libraries=$(echo "$root"/usr/lib/*-linux-gnu)
groff() {
	LD_LIBRARY_PATH=$libraries GROFF_BIN_PATH=$root/usr/bin GROFF_FONT_PATH=$(echo "$root"/usr/share/groff/*/font) \
		GROFF_TMAC_PATH=$(echo "$root"/usr/share/groff/*/tmac) "$root/usr/bin/groff" "$@"
}
problems=$(groff -ww -man -Tascii "$page" 2>&1 >"$work/vobs.txt") && [ -z "$problems" ] && [ -s "$work/vobs.txt" ] ||
	{ echo "e2e-shells: FAIL: groff: $problems" >&2; exit 1; }
echo "e2e-shells: PASS: bash $(bash -c 'echo "$BASH_VERSION"'), $("$root/bin/zsh" --version), $(LD_LIBRARY_PATH=$libraries "$root/usr/bin/fish" --version); $(groff --version | head -n 1), mandoc"

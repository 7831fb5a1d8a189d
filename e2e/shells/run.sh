#!/usr/bin/env bash
# Tests the completion scripts by typing into real shells: bash with bash-completion, zsh and
# fish, and the manual page with groff and mandoc. Fetches Debian's packages and unpacks them into
# .e2e/shells without installing anything. If a package cannot be fetched, it prints
# "e2e-shells: SKIPPED" and exits with status 0.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/.e2e/shells
root=$work/root

skip() {
	echo "e2e-shells: SKIPPED: $1" >&2
	exit 0
}

fetch() {
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || skip "apt-get and dpkg are needed: this test unpacks Debian packages"
	local apt=$work/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	# Separate lists: the machine's own apt is left as it is.
	local suite
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
	[ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || skip "the Debian keyring is missing (package debian-archive-keyring)"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" >"$apt/sources.list"
	local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/nonexistent -o "Dir::State::lists=$apt/lists"
		-o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root -o Acquire::Retries=2 -q)
	apt-get "${options[@]}" update >"$work/apt.log" 2>&1 || skip "Debian's package lists cannot be fetched (see .e2e/shells/apt.log)"
	rm -rf "$root.new"
	mkdir -p "$work/debs"
	(cd "$work/debs" && apt-get "${options[@]}" download zsh zsh-common fish fish-common libpcre2-32-0 bash-completion groff-base libuchardet0 mandoc >>../apt.log 2>&1) ||
		skip "Debian's zsh, fish, bash-completion, groff-base and mandoc cannot be fetched (see .e2e/shells/apt.log)"
	for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$root.new"; done
	rm -rf "$root" "$apt" "$work/debs"
	mv "$root.new" "$root"
}

mkdir -p "$work"
[ -d "$root" ] || fetch
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

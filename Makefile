# vobs: `make help` lists the targets. Go, gcc and make are all that is needed;
# what a target needs beyond that it fetches into .e2e, or skips loudly.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := $(if $(VERSION),-X github.com/vobs/vobs/internal/cli.version=$(VERSION))
# urfave/cli's documentation writers, which vobs does not use, start slowly.
TAGS := urfave_cli_no_docs
GOBUILD := go build -buildvcs=false -trimpath -tags $(TAGS)
FAKENVML := testdata/fakenvml/build/libnvidia-ml.so.1
GO_SOURCES := $(shell find . -path './.*' -prune -o -path ./bin -prune -o -name '*.go' -print -o -name '*.[ch]' -print) go.mod go.sum
FUZZTIME ?= 10s
PREFIX ?= /usr/local

.PHONY: build demo test race test-plugin lint bench bench-vllm fuzz soak e2e e2e-vllm e2e-nvml e2e-wandb e2e-gpu install clean help

build: bin/vobs ## build bin/vobs

bin/vobs: $(GO_SOURCES) schema/event.schema.json
	@echo 'building $@' >&2 # stdout is the demo's event
	@$(GOBUILD) -ldflags '$(LDFLAGS)' -o $@ .

$(FAKENVML): $(wildcard testdata/fakenvml/*.[ch]) testdata/fakenvml/build.sh
	@echo 'building $@' >&2
	@testdata/fakenvml/build.sh testdata/fakenvml/build

demo: bin/vobs $(FAKENVML) ## bracket a simulated engine on a simulated GPU: the main job, without either
	@internal/demo/demo.sh

test: $(FAKENVML) ## all tests that run anywhere
	go test -tags $(TAGS) ./...
	command -v python3 >/dev/null || { echo "SKIPPED: the end-to-end checkers' own tests need python3" >&2; exit 0; }; \
	for checker in vllm/check vllm/check_offline vllm/check_instrument vllm/check_deaths gpu/check; do python3 -B e2e/$${checker}_test.py; done

race: $(FAKENVML) ## the same under the race detector, which makes each of their thousand starts of vobs seven times as dear
	go test -race -tags $(TAGS) ./...

test-plugin: ## the plugin of --instrument under Python 3.10 to 3.13 (PYTHONS=…), against a stand-in for vLLM
	@internal/vllm/plugin/test_pythons.sh

# One folder a version; without Python or PyPI it is skipped loudly.
RUFF_VERSION := 0.17.6
RUFF := .e2e/ruff-$(RUFF_VERSION)/bin/ruff
$(RUFF):
	@rm -rf .e2e/ruff-$(RUFF_VERSION); python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps \
		--target .e2e/ruff-$(RUFF_VERSION) ruff==$(RUFF_VERSION) || echo "SKIPPED: ruff $(RUFF_VERSION) cannot be installed: lint needs python3 with pip, and PyPI, for the plugin" >&2

lint: $(RUFF) ## gofmt, go vet, staticcheck, ruff, tidy go.mod, fresh generated files, the other builds
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted: $$out" >&2; exit 1; fi
	go vet -tags $(TAGS) ./...
	go tool staticcheck -tags $(TAGS) ./...
	@[ ! -x $(RUFF) ] || { $(RUFF) check -q --no-cache internal/vllm/plugin && $(RUFF) format -q --no-cache --check internal/vllm/plugin; }
	go mod tidy -diff
	@mkdir -p bin/.fresh && cp docs/event.md bin/.fresh/
	@go run ./schema/internal/schemagen -dir schema -o bin/.fresh/event.schema.json -doc bin/.fresh/event.md
	@cmp bin/.fresh/event.schema.json schema/event.schema.json && cmp bin/.fresh/event.md docs/event.md || { echo "generated files are stale: go generate ./schema" >&2; exit 1; }
	CGO_ENABLED=0 $(GOBUILD) -o /dev/null .
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GOBUILD) -o /dev/null .
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GOBUILD) -o /dev/null .

bench: bin/vobs $(FAKENVML) ## what vobs and its reader cost, beside what one would use instead; then Go's benchmarks
	VOBS=bin/vobs go run ./bench/overhead
	go run -tags $(TAGS) ./bench/reader
	go test -tags $(TAGS) -run '^$$' -bench . -benchmem ./...

bench-vllm: bin/vobs ## a real vLLM's throughput and latency with and without vobs, in turn
	bench/engine.sh

fuzz: ## a bounded round of every fuzz target (FUZZTIME=10s)
	@for package in $$(go list ./...); do \
		for target in $$(go test -tags $(TAGS) -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			go test -tags $(TAGS) -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

soak: ## a thousand runs of the program amid orphans: no exit code is lost
	VOBS_TEST_RUNS=1000 go test -count=1 -tags $(TAGS) -run '^TestCodesAmidOrphans$$' ./internal/cli

e2e: e2e-gpu e2e-nvml e2e-wandb e2e-vllm ## all end-to-end targets

e2e-vllm: bin/vobs ## a real vLLM for CPU, installed into .e2e (5.9 GB): bracketed six ways, ended and killed in eight
	e2e/vllm/run.sh

e2e-nvml: bin/vobs ## Debian's real NVML library, without a driver
	e2e/nvml/run.sh

e2e-wandb: ## the real SDK of W&B, installed into .e2e (130 MB), beside our client, against a server of our own
	e2e/wandb/run.sh

e2e-gpu: bin/vobs ## known amounts of memory on a real GPU (PYTHON=… with torch, or by libcuda)
	e2e/gpu/run.sh

install: bin/vobs ## install vobs into PREFIX/bin (/usr/local)
	install -D -m 755 bin/vobs $(DESTDIR)$(PREFIX)/bin/vobs

clean: ## remove what was built; .e2e, which is dear to fetch, stays
	rm -rf bin testdata/fakenvml/build

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

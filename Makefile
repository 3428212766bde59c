# kubectl-cell. `make help` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PKG     := github.com/kubecell/kubectl-cell
BIN     := $(CURDIR)/bin
CONTROL := cmd/cell-controlplane

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -s -w -X $(PKG)/pkg/version.version=$(VERSION) -X $(PKG)/pkg/version.commit=$(COMMIT)

# What stock kubectl says of itself; its version is that of its module.
KUBECTL_LDFLAGS := -s -w -X k8s.io/component-base/version.gitVersion=v1.36.3

# How long make soak writes, and how many writes a second it must reach on all resources and over all restarts.
# SOAK_FLAGS=-backup leaves the backup daemon running, which writes an envelope for most of them on the same machine.
SOAK ?= 2m
SOAK_RATE ?= 200
SOAK_FLAGS ?=
# How many rebalances and how many kill drills make robustness runs, and the seed of the first of each; 0 draws one. A
# number of 0 leaves one of them out.
SEEDS ?= 5
DRILLS ?= 3
SEED ?= 0
# What else a drill may draw, of how many names its 5,000 objects are, how long nothing is broken, and how many writes a
# second it must reach then.
DRILL_EXTRAS ?= second,rebalance
DRILL_NAMES ?= 4200
DRILL_CALM ?= 15s
DRILL_RATE ?= 100
# How many times as long as in that calm requests for objects of other cells may take during failovers (p99 of all drills
# together), and how soon a cell that was stopped must refuse its own controllers when it goes on. 0 prints it alone.
DRILL_P99 ?= 1.2
DRILL_GAP ?= 2s
# The race detector, which needs a C compiler. RACE= runs the same tests without it.
RACE ?= -race
# Real control planes share this machine: two packages at a time keep it busy, more starve each other. make lint vets the tests:
# go test would do it again, with all that they are made of, and with -race once more.
TESTFLAGS ?= -p 2 -timeout 30m -vet=off
# Packages whose tests run under the race detector: those in which goroutines share memory, but for those whose tests would
# take hours under it, as those of rebalances, failovers, sandboxes and most commands: make race-all has them. The router of
# the soak is a process of its own, without it.
RACED ?= ./pkg/router/... ./pkg/configuration/... ./pkg/replication/... ./pkg/backup/... ./pkg/federation/... \
	./pkg/lease/... ./pkg/promotion/... ./pkg/migration/... ./pkg/daemon ./pkg/plan ./pkg/tui/... ./pkg/printers \
	./pkg/cli/completion ./pkg/cli/command
UNRACED = $(filter-out $(shell go list $(RACED)),$(shell go list ./...))

# All packages of test/conformance but the one that compiles Kubernetes' specs, which takes minutes.
CONFORMANCE_LIGHT := ./cmd/... ./compare ./result ./selection

GOLANGCI := go tool -modfile=$(CURDIR)/tools/golangci-lint/go.mod golangci-lint
CONTROLLER_GEN := go tool -modfile=$(CURDIR)/tools/controller-gen/go.mod controller-gen

# Pure Go: kustomize, below cli-runtime, imports plugin, which with cgo keeps every method of every type in the binary and
# links it by the C compiler: three times the size and a slower start.
export CGO_ENABLED := 0
# Packages without the path of the clone in them are compiled once for all clones, and builds can be reproduced.
export GOFLAGS := -trimpath $(filter-out -trimpath,$(GOFLAGS))
export PATH := $(BIN):$(PATH)
export KUBECELL_CONTROLPLANE := $(BIN)/cell-controlplane

.PHONY: help
help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Everyday
.PHONY: build
build: bin/kubectl-cell controlplane kubectl ## build everything into bin/ (control plane: minutes the first time)

.PHONY: demo
demo: build ## play the main job end to end on real cells, narrated, and clean up
	@scripts/demo.sh

.PHONY: test
test: c-compiler build race ## run all tests, with real control planes, and short versions of the long proofs
	go test $(TESTFLAGS) $(UNRACED)
	cd $(CONTROL) && go test $(TESTFLAGS) ./...
	cd test/conformance && go test -vet=off $(CONFORMANCE_LIGHT)
	cd test/monitoring && go test -vet=off ./...
	go test -vet=off -short -run '^$$' -bench '^BenchmarkRouter(Get|Watch)' -benchtime 1x ./pkg/router
	scripts/conformance.sh --short

.PHONY: race
race: c-compiler build ## run the tests of what is concurrent under the race detector: a part of make test
	CGO_ENABLED=$(if $(RACE),1,0) go test $(RACE) $(TESTFLAGS) $(RACED)

# Fails where the race detector is wanted and has no C compiler: tests that ran without it would look as if they had it.
.PHONY: c-compiler
c-compiler:
ifneq ($(RACE),)
	@read -r cc _ <<<"$$(go env CC)"; command -v "$$cc" >/dev/null || { \
		echo "error: the race detector needs a C compiler, and there is no $$cc on PATH" >&2; \
		echo "  hint: apt-get install gcc libc6-dev ; or without the detector: make $(or $(MAKECMDGOALS),race) RACE=" >&2; \
		exit 1; }
endif

.PHONY: race-all
race-all: RACED = ./pkg/...
race-all: TESTFLAGS = -p 2 -timeout 60m -vet=off
race-all: race ## run the tests of all packages under the race detector: hours on two cores

.PHONY: soak
soak: build ## informers through two restarts of the router and the death of a cell: three minutes
	go test ./test/soak -count=1 -v -timeout 20m -args -duration $(SOAK) -rate $(SOAK_RATE) $(SOAK_FLAGS)

.PHONY: robustness
robustness: build ## rebalances (SEEDS=5) and deaths of cells (DRILLS=3) under clients, every history judged: seven to twenty minutes each
ifneq ($(SEEDS),0)
	go test ./test/robustness -count=1 -v -timeout 3h -run TestRebalance -args -seed $(SEED) -seeds $(SEEDS) -steps 0 -cells 3 \
		-stages join,leave,weights -faults kill,suspend,router,crash,stop,cell,pause,abort,direct,random,backup
endif
ifneq ($(DRILLS),0)
	go test ./test/robustness -count=1 -v -timeout 3h -run TestDrill -args -seed $(SEED) -drills $(DRILLS) \
		-drill-names $(DRILL_NAMES) -drill-kills 0 -drill-extras '$(DRILL_EXTRAS)' -drill-calm $(DRILL_CALM) -drill-rate $(DRILL_RATE) \
		-drill-p99 $(DRILL_P99) -drill-gap $(DRILL_GAP) -clients 32
endif

.PHONY: newcomer
newcomer: build ## a fresh clone, README's commands and nothing else, and nothing left: ten minutes (a minute of it in make test)
	go test ./test/newcomer -count=1 -v -timeout 3h -args -clone

.PHONY: conformance
conformance: build ## Kubernetes' own specs, directly and through the router: 20 minutes (CONFORMANCE=--short: 3)
	@scripts/conformance.sh $(CONFORMANCE)

.PHONY: lint
lint: ## vet and lint all modules; go vet is one of the linters
	go vet -tags release ./test/packaging
	$(GOLANGCI) run ./...
	cd $(CONTROL) && $(GOLANGCI) run --config $(CURDIR)/.golangci.yml ./...
	cd test/conformance && $(GOLANGCI) run --config $(CURDIR)/.golangci.yml $(CONFORMANCE_LIGHT)
	cd test/monitoring && $(GOLANGCI) run --config $(CURDIR)/.golangci.yml ./...

.PHONY: bench
bench: bin/kubectl-cell controlplane ## benchmarks, each beside what it is compared with
	go test -run '^$$' -bench . -benchmem ./pkg/placement/... ./pkg/plan/...
	go test -run '^$$' -bench '^BenchmarkBackup' -benchtime 1x ./pkg/backup/mirror
	go test -run '^$$' -bench '^BenchmarkRouter' -benchtime 1x ./pkg/router
	go test -run '^$$' -bench '^BenchmarkRebalance' -benchtime 1x ./pkg/rebalance
	go test -run '^$$' -bench '^BenchmarkMove$$' -benchtime 200x ./pkg/migration
	go test -run '^$$' -bench '^BenchmarkFailover' -benchtime 1x ./pkg/failover
	go test -run '^$$' -bench '^BenchmarkVerify' -benchtime 1x -timeout 30m ./pkg/verify
	@scripts/bench-simulate.sh
	@scripts/bench-start.sh

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME (30s)
	@scripts/fuzz.sh $(or $(FUZZTIME),30s)

##@ Parts
.PHONY: bin/kubectl-cell
bin/kubectl-cell: ## the plugin; go build decides what is stale
	@mkdir -p $(BIN)
	go build -ldflags '$(LDFLAGS)' -o $@ ./cmd/kubectl-cell

.PHONY: controlplane
controlplane: ## the embedded control plane; built once, then taken from a cache outside the clone
	@$(CONTROL)/build.sh $(BIN)/cell-controlplane

.PHONY: kubectl
kubectl: ## a kubectl in bin/, only where there is none on PATH
	@command -v kubectl >/dev/null || { \
		echo 'no kubectl on PATH: building one from k8s.io/kubectl' >&2; \
		cd tools/kubectl && go build -ldflags '$(KUBECTL_LDFLAGS)' -o $(BIN)/kubectl .; }

##@ Release
.PHONY: cross
cross: ## compile the plugin for windows and macOS: minutes the first time
	GOOS=windows go vet ./cmd/kubectl-cell ./pkg/daemon ./pkg/sandbox
	GOOS=windows GOARCH=amd64 go build -o /dev/null ./cmd/kubectl-cell
	GOOS=darwin GOARCH=arm64 go build -o /dev/null ./cmd/kubectl-cell

# All modules of the program, for Windows and macOS alike, and those of the tools; a newer Go as well, where a tool asks for one.
.PHONY: release-tools
release-tools: ## download what release-snapshot takes: modules of all platforms, and of the tools below tools/
	@for module in . tools/goreleaser tools/cyclonedx-gomod tools/krew; do \
		echo "modules of $$module" >&2; go -C $$module mod download || exit; done

.PHONY: release-snapshot
release-snapshot: build release-tools ## archives, packages, SBOMs and krew manifest of all platforms into dist/, checked, unpublished
	@scripts/release-snapshot.sh

##@ Generated files
.PHONY: generate
generate: ## write what is generated: deepcopy, CRDs, CLI reference, completions
	$(CONTROLLER_GEN) object paths=./pkg/apis/...
	$(CONTROLLER_GEN) crd paths=./pkg/apis/... output:crd:dir=config/crd
	go run ./scripts/generate

.PHONY: recording
recording: build ## record README's commands from the real thing: docs/recording.svg, docs/first-five-minutes.md
	go test ./test/newcomer -count=1 -v -run TestREADME -args -record

.PHONY: screens
screens: build ## capture the screens of a rebalance from a real terminal: docs/rebalance-screens.md
	go test ./pkg/cli/rebalance -count=1 -run 'TestOnATerminal$$' -args -capture

.PHONY: verify
verify: ## fail where a generated file is stale, code is not formatted, or docs name a missing path
	@scripts/verify.sh

.PHONY: clean
clean: ## remove bin/; the cache of the control plane stays
	rm -rf $(BIN)

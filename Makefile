# sluice: every task of a working day. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GO      ?= go
BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)
K6      := $(BIN)/k6
FUZZTIME ?= 20s
DEMO_FLAGS ?=
UPGRADES ?= 50
SEEDS ?= 2000

.PHONY: help
help: ## List these targets.
	@awk 'BEGIN {FS = ":.*## "; print "sluice: make TARGET\n"} /^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/sluice (static, with the recorded profile).
	CGO_ENABLED=0 GOFLAGS= $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/sluice ./cmd/sluice

.PHONY: demo
demo: build ## Run a gateway, an upstream and a token issuer on this machine; Ctrl-C stops all.
	$(BIN)/sluice demo $(DEMO_FLAGS)

.PHONY: test
test: lint unit integration ## Everything that must be green: lint, unit tests under the race detector, integration tests.

# The recorded profile is for the binary that is shipped: checks and tests
# compile each package once, without it.
lint unit integration drills limits bench fuzz generate: export GOFLAGS := -pgo=off

.PHONY: unit
unit: build ## Unit tests, under the race detector and without it where allocations are counted.
	SLUICE_TEST_BINARY=$(CURDIR)/$(BIN)/sluice $(GO) test -race -shuffle=on ./...
	$(GO) test -run 'Alloc' ./...
	$(GO) test ./loadtest/sim

.PHONY: sim
sim: ## SEEDS random fault schedules of a simulated cluster, the limits checked after every admission.
	$(GO) test -count 1 -timeout 0 -run 'Random' ./loadtest/sim -seeds $(SEEDS)

.PHONY: integration
integration: build ## The built binary against FastAPI on uvicorn and real clients.
	SLUICE_TEST_BINARY=$(CURDIR)/$(BIN)/sluice $(GO) test -tags integration -count=1 -timeout 10m ./test/...

.PHONY: upgrade-test
upgrade-test: build ## UPGRADES (50) upgrades at full load, where make test makes four.
	SLUICE_UPGRADES=$(UPGRADES) SLUICE_TEST_BINARY=$(CURDIR)/$(BIN)/sluice $(GO) test -tags integration -count=1 -v -timeout 20m -run Upgrade ./test

.PHONY: drills
drills: build ## Fault drills with a cluster of real processes (about 3 minutes; make test has three of them).
	SLUICE_TEST_BINARY=$(CURDIR)/$(BIN)/sluice $(GO) test -tags 'integration drills' -count=1 -v -timeout 20m -parallel 3 -run 'Drills|Strict' ./test

.PHONY: lint
lint: ## vet, staticcheck, formatting, floors, tidy modules.
	$(GO) vet ./...
	$(GO) vet -tags 'integration drills' ./test/...
	$(GO) tool staticcheck -tags 'integration drills' ./...
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "gofmt would change: $$unformatted"; exit 1; }
	$(GO) test -count=1 ./internal/archtest
	$(GO) mod tidy -diff

.PHONY: fmt
fmt: ## Format all Go files.
	gofmt -w $$(git ls-files '*.go')

.PHONY: bench
bench: ## Benchmarks of the hot path: ns/op, B/op, allocs/op.
	$(GO) test -run '^$$' -bench . -benchmem ./auth ./limiter/... ./telemetry ./proxy/...

.PHONY: compare
compare: build ## Side by side with nginx, HAProxy, Caddy and ReverseProxy, as a Markdown table (about 5 minutes).
	$(GO) run ./loadtest/compare

.PHONY: limits
limits: ## How exact sluice and others keep limits, with and without faults, as Markdown tables (about 5 minutes).
	$(GO) run ./loadtest/limits

.PHONY: pgo
pgo: build ## Refresh the profile that builds are optimised with, from the comparison's own load.
	$(GO) run ./loadtest/compare --only sluice-full,sluice-plain --pgo cmd/sluice/default.pgo

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME (20s).
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

$(K6):
	GOBIN=$(CURDIR)/$(BIN) $(GO) install go.k6.io/k6@v1.8.1

.PHONY: loadtest
loadtest: build $(K6) ## k6 against the demo: added latency, exact quotas of every tier.
	loadtest/run.sh

.PHONY: bench-waf
bench-waf: ## The firewall beside the engine alone, same rules, in one run.
	$(GO) test -run '^$$' -bench . -benchmem ./waf/crs

.PHONY: generate
generate: ## Rewrite generated documents (configuration, metrics).
	$(GO) test ./conf ./telemetry ./proxy -run 'Doc|Reference|Generated' -update

.PHONY: vuln
vuln: ## Known vulnerabilities in what is linked (needs the vulnerability database).
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...

.PHONY: clean
clean: ## Remove what was built.
	rm -rf $(BIN) out

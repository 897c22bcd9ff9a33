# Everything here works on a machine with Go, git and make. `make help` lists it.

SHELL       := /bin/bash
export CGO_ENABLED := 0

GO          ?= go
PKGS        ?= ./...
TESTFLAGS   ?=
GOLANGCI    ?= github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
DEMOFLAGS   := $(if $(filter 1 true yes,$(ONCE)),--once)

.PHONY: help build demo test vet deps generate lint bench bench-quick bench-events bench-http bench-console bench-observe ledger fault clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

build: ## bin/mayfly, one static binary
	@echo "==> building bin/mayfly (the first time takes a minute or two)"
	$(GO) build -ldflags "-s -w" -o bin/mayfly ./cmd/mayfly

demo: build ## a node with example functions; ONCE=1 exits after the table
	@bin/mayfly demo $(DEMOFLAGS)

deps: ## install the clients that tests drive (Debian and npm packages)
	@.ci/deps

vet:
	@echo "==> go vet"
	$(GO) vet $(PKGS)

# Packages are tested one at a time: many run sandboxes and look at what is left
# of them on this machine.
test: deps vet ## install what tests need, then run all of them
	@echo "==> go test"
	$(GO) test -p 1 -timeout 20m $(TESTFLAGS) $(PKGS)

generate: ## make generated files anew (the precompiled filters take a minute)
	$(GO) generate ./...

lint: ## golangci-lint
	$(GO) run $(GOLANGCI) run

bench: build ## cold and warm starts, throughput, memory
	@mkdir -p bench/results
	$(GO) run ./bench -o bench/results/$$(date -u +%F).md

bench-quick: build ## a smoke run of the bench, to see that it works
	$(GO) run ./bench -quick -o /tmp/mayfly-bench-quick.md

bench-events: build ## queues, and the time from an event to its handler
	@mkdir -p bench/results
	$(GO) run ./bench -wake -o bench/results/$$(date -u +%F)-events.md

bench-http: build ## function URLs and web servers beside the same server called directly
	@mkdir -p bench/results
	$(GO) run ./bench -http -o bench/results/$$(date -u +%F)-http.md

bench-console: build ## pages of the console with 1,000 functions and a million records, and mayfly dev
	@mkdir -p bench/results
	$(GO) run ./bench -console -o bench/results/$$(date -u +%F)-console.md

bench-observe: build ## what logs, records, traces and metrics cost calls, and lines of log a second
	@mkdir -p bench/results
	$(GO) run ./bench -observe -o bench/results/$$(date -u +%F)-observe.md

ledger: ## 50,000 calls and a kill -9: the ledger equals the REPORT lines
	$(GO) test -p 1 -timeout 20m -v ./test/fault -run TestLedgerEquals -ledger.calls 50000

fault: ## 20,000 events of all sources and ten times kill -9: none is lost
	$(GO) test -p 1 -timeout 20m -v ./test/fault -run TestEveryEventOfEverySource -storm.events 20000 -storm.kills 10

clean: ## remove what build made
	rm -rf bin

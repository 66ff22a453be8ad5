# Every target does its own set-up. `make` lists them.

# The root module and those inside it.
MODULES := $(patsubst %/,%,$(dir $(wildcard go.mod */go.mod */*/go.mod */*/*/*/go.mod)))

# Never in go.mod: a linter's dependencies are no business of the server's.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Few packages at a time, so that a big machine does not run out of the test
# cluster's connections. To try one test: make test-core TEST_FLAGS='-race -run TestX'.
#
# The race detector does not look into SQLite, which was C once and locks
# by itself, and checks no conversions of unsafe pointers: nothing here has any.
TEST_FLAGS ?= -race -gcflags=all=-d=checkptr=0 '-gcflags=modernc.org/...=-d=checkptr=0 -race=false' -shuffle=on -timeout=30m -p=4

# A process that found a race fails all the same; by default each sleeps a second
# at its end.
export GORACE := atexit_sleep_ms=0

# $(call each,COMMAND) runs COMMAND in every module and stops at a failure.
each = set -e; for module in $(MODULES); do echo "[$$module] $(1)"; (cd "$$module" && $(1)); done

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: test-core test-ops test-browser ## every test; installs what is missing on Debian, as root

# Every test that needs nothing but Go, a C compiler, PostgreSQL and Redis.
.PHONY: test-core
test-core: setup-core bin/withpostgres ## the Go tests, under the race detector, on SQLite and a PostgreSQL of their own
	@bin/withpostgres $(MAKE) --no-print-directory test-modules

.PHONY: test-modules
test-modules:
	@set -e; for module in $(MODULES); do echo "[$$module] go test $(TEST_FLAGS)"; \
		(cd "$$module" && go list ./... | grep -v /internal/testops | xargs go test $(TEST_FLAGS)); done

.PHONY: test-ops
test-ops: setup-ops bin/withpostgres ## proxies, poolers, failover and processes: internal/testops
	@bin/withpostgres go test $(TEST_FLAGS) ./internal/testops/...

.PHONY: test-browser
test-browser: setup-browser ## the server with Chromium: internal/testbrowser
	@go test -count=1 -timeout=20m -tags=browser ./internal/testbrowser/...

# What one runs at each save: no race detector, and no package whose tests start
# processes. Packages that have not changed are not run again.
QUICK := ./config ./handlers ./internal ./internal/testattack ./internal/testwire ./models ./oauth ./session

.PHONY: test-quick
test-quick: setup-core bin/withpostgres ## most Go tests, without the race detector
	@bin/withpostgres go test $(QUICK)

# The model of the refresh chain with many more operations, and what races many
# times over.
SOAK_CHECKS ?= 2000
SOAK_COUNT ?= 20

.PHONY: soak
soak: setup-core bin/withpostgres ## long runs of the tests that are random or race (SOAK_CHECKS, SOAK_COUNT)
	@bin/withpostgres go test -race -timeout=4h -run='Model' ./internal/testwire -rapid.checks=$(SOAK_CHECKS)
	@bin/withpostgres go test -race -timeout=4h -run='AtOnce|Among|Beside|UnderLoad|Parallel' -count=$(SOAK_COUNT) ./internal/testwire ./internal/testattack ./internal/testfeed ./models

.PHONY: setup-core setup-ops setup-browser
setup-core setup-ops setup-browser: setup-%:
	@.ci/setup core $(filter-out core,$*)

# Of each target. One that fails has written the input to testdata beside it, so
# that it fails again without fuzzing. What does not is the end of the time,
# which Go before 1.27 may take for a failure (golang/go#75804).
FUZZ_TIME ?= 1m

# By default Go may spend a minute on making one new input smaller.
FUZZ_FLAGS ?= -fuzzminimizetime=1s

.PHONY: fuzz
fuzz: ## every fuzz target for a minute (FUZZ_TIME=10m for longer)
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's,/[^/]*:func , ,' | sort | while read -r package target; do \
		echo "[$$package] $$target"; \
		(cd "$$package" && { go test -run="^$$target\$$" -fuzz="^$$target\$$" -fuzztime=$(FUZZ_TIME) $(FUZZ_FLAGS) . || \
			go test -count=1 -run="^$$target\$$" .; }) </dev/null || exit 1; \
	done

# So many requests of each flow; -count=N in BENCH_FLAGS for benchstat.
BENCH_REQUESTS ?= 3000

.PHONY: bench
bench: bin/withpostgres ## what a request costs the server and PostgreSQL (docs/benchmarks.md); a minute
	@bin/withpostgres go test -run='^$$' -bench=. -benchtime=$(BENCH_REQUESTS)x -timeout=10m $(BENCH_FLAGS) ./bench

.PHONY: lint
lint: ## formatting, go vet and staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted (make fmt does it):"; echo "$$unformatted"; exit 1; fi
	@$(call each,go vet -tags=browser ./...)
	@$(call each,go run $(STATICCHECK) -tags=browser ./...)

.PHONY: fmt
fmt: ## format every Go file
	gofmt -w .

.PHONY: tidy-check
tidy-check: ## go.mod and go.sum say what the code needs, no more and no less
	@$(call each,go mod tidy -diff)

# What `latchkey version` prints.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)

.PHONY: build
build: ## bin/latchkey: static, without paths of this machine
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w -X main.release=$(VERSION) -X main.commit=$(COMMIT)' -o bin/latchkey ./cmd/latchkey

# Always asked of go build, which knows when there is nothing to do.
.PHONY: bin/withpostgres
bin/withpostgres:
	@go build -o $@ ./internal/testdb/withpostgres

# `make` lists the targets. Each target installs what it needs.

# The root module and the modules inside it.
MODULES := $(patsubst %/,%,$(dir $(wildcard go.mod */go.mod */*/go.mod */*/*/*/go.mod)))

# Not in go.mod: the server must not depend on a linter's dependencies. The first run
# compiles it, which takes some minutes; Go's cache keeps it.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# Test four packages at a time, so that a machine with many cores does not use up the
# connections of the test cluster. To run one test: make test-core TEST_FLAGS='-race -run TestX'.
#
# The race detector skips what only computes: SQLite, which is translated from C and
# does its own locking, and the packages of PURE, whose functions work on their
# arguments and share nothing that a caller writes. Checks of unsafe pointer
# conversions are off, because this code has none.
#
# At least four tests of a package run at a time, also on two cores: those of processes
# mostly wait. Vet is off, because make lint runs all of it.
PARALLEL := $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n > 4 ? n : 4)))
PURE := modernc.org/... compress/... hash/... math/big regexp/... crypto/internal/fips140/bigmod \
	crypto/internal/fips140/edwards25519/... crypto/internal/fips140/nistec/... crypto/internal/fips140/sha256 crypto/internal/fips140/sha512 \
	github.com/antlr4-go/... github.com/google/cel-go/checker/... github.com/google/cel-go/parser/... go.yaml.in/yaml/...
TEST_FLAGS ?= -race -gcflags=all=-d=checkptr=0 $(PURE:%='-gcflags=%=-d=checkptr=0 -race=false') -vet=off -shuffle=on -timeout=30m -p=4 -parallel=$(PARALLEL)

# By default every process sleeps for a second when it exits. A process that found a
# race fails without that, too.
export GORACE := atexit_sleep_ms=0

# $(call each,COMMAND) runs COMMAND in every module and stops at a failure.
each = set -e; for module in $(MODULES); do echo "[$$module] $(1)"; (cd "$$module" && $(1)); done

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: test-core test-tools test-ops test-browser sdk-js sdk-js-next ## run every test; on Debian, as root, install what is missing

# What test-tools runs, as a pattern of package paths. What matches neither this nor
# testops belongs to test-core.
TOOLS := /cmd/|/examples/|/internal/(testadmin|testconsole|testevents|testsdk)$$

# $(call gotest,FILTER) runs the tests of the packages of the root module that the filter
# passes.
gotest = @echo "go test $(TEST_FLAGS)"; packages=$$(go list ./...) && bin/withpostgres go test $(TEST_FLAGS) $$(echo "$$packages" | $(1))

# These two need only Go, a C compiler, PostgreSQL and Redis.
.PHONY: test-core test-tools
test-core: setup-core bin/withpostgres ## the protocol, the policies and the storage, with the race detector, on SQLite and PostgreSQL
	$(call gotest,grep -Ev '$(TOOLS)|/internal/testops$$')

test-tools: setup-core bin/withpostgres ## the same for commands, admin API, console, events, SDK, examples and other modules
	$(call gotest,grep -E '$(TOOLS)')
	@set -e; for module in $(filter-out .,$(MODULES)); do echo "[$$module]"; (cd "$$module" && go test $(TEST_FLAGS) ./...); done

.PHONY: test-ops
test-ops: setup-ops bin/withpostgres ## the tests with proxies, poolers, failover and processes: internal/testops
	@bin/withpostgres go test $(TEST_FLAGS) ./internal/testops/...

.PHONY: test-browser
test-browser: setup-browser ## the tests with Chromium: internal/testbrowser and examples/sign-in
	@go test -count=1 -timeout=20m -tags=browser ./internal/testbrowser/...
	@cd examples/sign-in && go test -count=1 -tags=browser -run=Browser .

# npm runs the scripts with the Node of sdk/js/package.json, not with Debian's.
.PHONY: sdk-js
sdk-js: setup-sdk-js ## check, test and pack the TypeScript SDK, sdk/js
	@cd sdk/js && npm run check && npm test && npm run package

.PHONY: sdk-js-next
sdk-js-next: setup-sdk-js ## build examples/next-app with the packed SDK, and test it in Chromium
	@cd sdk/js && npm run build && npm run test:next

# Not in CI: the runtimes are 370 MB. Run it before a release.
.PHONY: sdk-js-runtimes
sdk-js-runtimes: setup-sdk-js-runtimes ## run the packed SDK in Node, Deno, Bun and workerd (not in CI: 370 MB)
	@cd sdk/js && npm run build && npm run test:runtimes

.PHONY: example-app
example-app: setup-sdk-js ## build examples/app/latchkey.js from sdk/js; make sdk-js checks that it is up to date
	@cd sdk/js && npm run example-app

# For each time you save: no race detector, and no package whose tests start
# processes. Go does not run the tests of unchanged packages again.
QUICK := ./config ./handlers/... ./internal ./internal/testadmin ./internal/testattack ./internal/testconsole ./internal/testwire ./models ./oauth ./session ./settings

.PHONY: test-quick
test-quick: setup-core bin/withpostgres ## most Go tests, without the race detector
	@bin/withpostgres go test $(QUICK)

# Runs the model of the refresh chain with many more operations, and repeats the
# tests of races.
SOAK_CHECKS ?= 2000
SOAK_COUNT ?= 20
SOAK_SECONDS ?= 900

.PHONY: soak
soak: setup-core setup-sdk-js bin/withpostgres ## long runs of random tests and of tests of races (SOAK_CHECKS, SOAK_COUNT, SOAK_SECONDS)
	@bin/withpostgres go test -race -timeout=4h -run='Model' ./internal/testwire -rapid.checks=$(SOAK_CHECKS)
	@bin/withpostgres go test -race -timeout=4h -run='AtOnce|Among|Beside|UnderLoad|Parallel' -count=$(SOAK_COUNT) ./internal/testwire ./internal/testattack ./internal/testfeed ./models
	cd sdk/js && LATCHKEY_SDK_SECONDS=$(SOAK_SECONDS) LATCHKEY_SDK_VERIFICATIONS=1000000 LATCHKEY_SDK_COMPARE=sdk npm test

.PHONY: setup-core setup-ops setup-browser setup-node setup-sdk-js setup-sdk-js-runtimes
setup-core setup-ops setup-browser: setup-%:
	@.ci/setup core $(filter-out core,$*)
setup-node setup-sdk-js setup-sdk-js-runtimes: setup-%:
	@.ci/setup $*

# Time per target. A failing target saves its input under testdata, so a plain test
# run fails too. If that run passes, the failure was the end of the fuzzing time, which
# Go before 1.27 may report as a failure (golang/go#75804).
FUZZ_TIME ?= 1m

# By default Go may spend a minute minimizing one new input.
FUZZ_FLAGS ?= -fuzzminimizetime=1s

.PHONY: fuzz
fuzz: ## run every fuzz target for a minute (FUZZ_TIME=10m for longer)
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's,/[^/]*:func , ,' | sort | while read -r package target; do \
		echo "[$$package] $$target"; \
		(cd "$$package" && { go test -run="^$$target\$$" -fuzz="^$$target\$$" -fuzztime=$(FUZZ_TIME) $(FUZZ_FLAGS) . || \
			go test -count=1 -run="^$$target\$$" .; }) </dev/null || exit 1; \
	done

# The number of requests of each flow. For benchstat, put -count=N in BENCH_FLAGS.
BENCH_REQUESTS ?= 3000

.PHONY: bench
bench: bin/withpostgres ## measure what a request costs the server and PostgreSQL (docs/benchmarks.md); takes a minute
	@bin/withpostgres go test -run='^$$' -bench=. -benchtime=$(BENCH_REQUESTS)x -timeout=10m $(BENCH_FLAGS) ./bench

.PHONY: bench-load
bench-load: bin/withpostgres ## measure overload and 500 followers of the feed (docs/benchmarks.md); takes two minutes
	@LATCHKEY_BENCH_LOAD=1 bin/withpostgres go test -run='^$$' -bench='Overload|Feed' -benchtime=1x -timeout=10m -v ./bench

.PHONY: lint
lint: ## check formatting, and run the linters of .golangci.yml
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted (make fmt does it):"; echo "$$unformatted"; exit 1; fi
	@$(call each,go run $(GOLANGCI) run --allow-parallel-runners ./...)

.PHONY: fmt
fmt: ## format every Go file
	gofmt -w .

.PHONY: openapi
openapi: ## write docs/openapi.yaml, the document of the admin API
	go run ./handlers/admin/openapi > docs/openapi.yaml

# Version 2 needs Node 20; Debian 12 has Node 18.
REDOCLY := @redocly/cli@1.34.5

.PHONY: openapi-lint
openapi-lint: setup-node ## check docs/openapi.yaml with Redocly's rules; needs Node
	REDOCLY_TELEMETRY=off npx --yes $(REDOCLY) lint docs/openapi.yaml

.PHONY: tidy-check
tidy-check: ## check that go.mod and go.sum list exactly what the code needs
	@$(call each,go mod tidy -diff)

# `latchkey version` prints these.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)

.PHONY: build
build: ## build bin/latchkey: static, without paths of this machine
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w -X main.release=$(VERSION) -X main.commit=$(COMMIT)' -o bin/latchkey ./cmd/latchkey

# v2.18 needs Go 1.27. v2.16 is the last whose modules are all on every proxy.
GORELEASER := github.com/goreleaser/goreleaser/v2@v2.16.0
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# The snapshot has archives, checksums and bills of materials. It has container images
# only if Docker with buildx can build them here.
.PHONY: release-check
release-check: ## try the release: workflows, configuration, and a snapshot in dist/ (not in CI: minutes)
	go run $(ACTIONLINT)
	go run $(GORELEASER) check
	@if docker buildx inspect >/dev/null 2>&1; then skip=publish; else \
		skip=publish,docker; echo 'No container images: there is no Docker with buildx.'; fi; \
	set -x; go run $(GORELEASER) release --snapshot --clean --skip=$$skip
	@set -e; cd dist; sha256sum --quiet --check checksums.txt; ls -l *.tar.gz *.zip *.cdx.json checksums.txt

# The workflow "Release" runs this.
.PHONY: release
release:
	@mkdir -p bin
	.ci/release-notes $(TAG) > bin/release-notes.md
	GORELEASER_CURRENT_TAG=$(TAG) go run $(GORELEASER) release --clean --release-notes=bin/release-notes.md

# Phony, because go build itself finds out whether anything changed.
.PHONY: bin/withpostgres
bin/withpostgres:
	@go build -o $@ ./internal/testdb/withpostgres

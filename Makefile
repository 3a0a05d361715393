# What is longer than a line stands in xtask/. `make help` lists the targets.
# No target is a file.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' Makefile)

CARGO ?= cargo
PROMTOOL ?= promtool
XTASK = $(CARGO) run --quiet --package xtask --
WASM = wasm32-unknown-unknown
# The fuzzing is a workspace of its own.
FUZZ = CARGO_TARGET_DIR=$(CURDIR)/target/fuzz $(CARGO)
IN_FUZZ = --manifest-path crates/core/fuzz/Cargo.toml

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 20

build: toolchain ## Build the module that ships: target/byname.wasm
	@$(XTASK) module

cli: toolchain ## Build the program: target/native/byname
	$(CARGO) build --profile native --package byname

sizes: build ## Print what the module's bytes consist of, by part
	@$(XTASK) sizes

image: build ## The module as images for a registry: target/image
	@$(XTASK) image

dist: build cli image ## All that a release consists of, with checksums and SBOMs: target/dist
	@$(XTASK) dist

release: ## Raise the version to VERSION=1.2.3, wherever it stands (docs/releasing.md)
	@$(XTASK) release "$(VERSION)"

release-check: ## Whether TAG=v1.2.3 is that of the version, and the changelog has it
	@$(XTASK) release-check "$(TAG)"

publish: release-check dist ## Make a release of TAG on GitHub out of target/dist (gh, logged in)
	gh release create "$(TAG)" --verify-tag --title "byname $(TAG)" --notes-file target/release-notes.md target/dist/*

push: image ## Push both images to IMAGE=registry.example.com/byname (skopeo, logged in)
	@$(XTASK) push "$(IMAGE)"

demo: build envoy ## Reach Services by their names through a real Envoy (KEEP=1 leaves it running)
	@$(XTASK) demo $(if $(KEEP),--keep)

bench: build envoy ## Side by side with what one would pick instead (QUICK=1 for two minutes, PLOT=file.svg)
	@$(XTASK) bench $(if $(QUICK),--quick)
	@python3 benches/plot.py target/bench/report.json $(or $(PLOT),target/bench/plot.svg)

bench-core: toolchain ## What a resolution and a new table take natively, by the number of Services
	$(CARGO) bench --package byname-core

test: test-native test-wasm test-fuzz test-cli test-envoy test-reproducible ## Run all tests

test-native: toolchain ## The tests of core and of the test support
	$(CARGO) test --workspace --exclude byname-filter --exclude byname --exclude byname-cluster --exclude byname-containers

test-cli: build envoy kubectl istio-crds ## The program, alone and with a real Envoy
	$(CARGO) test --package byname

test-wasm: toolchain ## The tests of core once more, in wasm under Node
	@$(XTASK) wasm-test-runner
	PATH="$$PATH:$(CURDIR)/target/tools/node" \
		CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$(CURDIR)/target/tools/bin/wasm-bindgen-test-runner \
		$(CARGO) test --package byname-core --target $(WASM)

test-fuzz: toolchain ## Replay the fuzzing corpus
	$(FUZZ) test --locked $(IN_FUZZ) --test replay -- --nocapture

test-envoy: build envoy image ## The module that ships, in a real Envoy
	$(CARGO) test --package byname-filter

test-cluster: build cli envoy kubectl ## A real Kubernetes, CoreDNS and Istio in namespaces of their own: needs Go and root (TEST=names for one target)
	@$(XTASK) cluster $(TEST)

test-compose: build cli envoy ## The examples that are containers, on this machine's Docker engine
	$(CARGO) test --package byname-containers

test-reproducible: build ## The same module from another directory, byte for byte
	@$(XTASK) reproduce

test-dockerfile: build ## The module's image by an engine: needs docker, and pulls nothing
	@$(XTASK) dockerfile

schema: ## Write docs/configuration.schema.json anew, from the structs
	@$(XTASK) schema

fuzz: toolchain ## Fuzz core, each target for SECONDS_EACH=60, or TARGET alone
	@$(XTASK) fuzz $(if $(SECONDS_EACH),--seconds-each $(SECONDS_EACH)) $(if $(TARGET),--target $(TARGET))

reliability: build envoy ## Pushes, good and bad, and a dying upstream under load, for SECONDS=60 each
	@$(XTASK) reliability $(if $(SECONDS),--seconds $(SECONDS))

test-alerts: ## What the alerts of examples/monitoring fire on, with PROMTOOL=/path/to/promtool (not part of test)
	@command -v $(PROMTOOL) >/dev/null || { echo "there is no promtool: set PROMTOOL=/path/to/promtool; Debian's package prometheus has it" >&2; exit 1; }
	$(PROMTOOL) check rules examples/monitoring/alerts.yaml
	$(PROMTOOL) test rules examples/monitoring/alerts.test.yaml

dashboard-picture: build cli envoy ## Draw docs/pictures/dashboard.png, with PROMETHEUS=/path/to/prometheus
	@$(XTASK) dashboard

lint: toolchain ## Formatting, imports, clippy (native and wasm), licences and sources of dependencies
	$(CARGO) fmt --all --check
	@$(XTASK) layers
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --package byname-filter --target $(WASM) -- --deny warnings
	$(CARGO) fmt $(IN_FUZZ) --check
	$(FUZZ) clippy --locked $(IN_FUZZ) --all-targets -- --deny warnings
	@$(XTASK) cargo-deny
	target/tools/bin/cargo-deny check bans licenses sources

audit: toolchain ## Known vulnerabilities of dependencies (asks GitHub for the advisories)
	@$(XTASK) cargo-deny
	target/tools/bin/cargo-deny check advisories

envoy: ## Install the pinned Envoy into target/envoy (or take the one that ENVOY names)
	@$(XTASK) envoy

kubectl: ## Install kubectl into target/kubectl (or take the one that KUBECTL names)
	@$(XTASK) kubectl

istio-crds: ## Install what Istio's objects are checked with into target/istio-crds
	@$(XTASK) istio-crds

clean: ## Remove all that was built and installed
	rm -rf target

toolchain:
	@./xtask/toolchain.sh

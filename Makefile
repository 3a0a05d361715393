# Steps longer than a line are in xtask/. `make help` lists the targets.
# No target names a file.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' Makefile)

CARGO ?= cargo
XTASK = $(CARGO) run --quiet --package xtask --
WASM = wasm32-unknown-unknown
# The fuzzing crate is a workspace of its own.
FUZZ = CARGO_TARGET_DIR=$(CURDIR)/target/fuzz $(CARGO)
IN_FUZZ = --manifest-path crates/core/fuzz/Cargo.toml

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 20

build: toolchain ## Build the shipped module: target/byname.wasm
	@$(XTASK) module

cli: toolchain ## Build the program: target/native/byname
	$(CARGO) build --profile native --package byname

sizes: build ## Print the size of each part of the module
	@$(XTASK) sizes

image: build ## Build the module's images for a registry: target/image
	@$(XTASK) image

dist: build cli image ## Build all files of a release, with checksums and SBOMs: target/dist
	@$(XTASK) dist

release: ## Raise the version everywhere, with VERSION=1.2.3 (docs/releasing.md)
	@$(XTASK) release "$(VERSION)"

release-check: ## Check that TAG=v1.2.3 matches the version and the changelog
	@$(XTASK) release-check "$(TAG)"

publish: release-check dist ## Release TAG on GitHub with the files of target/dist (needs gh, logged in)
	gh release create "$(TAG)" --verify-tag --title "byname $(TAG)" --notes-file target/release-notes.md target/dist/*

push: image ## Push both images to IMAGE=registry.example.com/byname (needs skopeo, logged in)
	@$(XTASK) push "$(IMAGE)"

demo: build envoy ## Reach Services by name through a real Envoy (KEEP=1 leaves it running)
	@$(XTASK) demo $(if $(KEEP),--keep)

bench: build cli envoy ## Measure byname and its alternatives side by side (QUICK=1 for two minutes, PLOT=file.svg, PART=listeners, starts, pushes or fuel for one part, LISTENERS=131 for the memory with as many)
	@$(XTASK) bench $(if $(QUICK),--quick) $(if $(PART),--part $(PART)) $(if $(LISTENERS),--listeners $(LISTENERS))
	$(if $(PART),,@python3 benches/plot.py target/bench/report.json $(or $(PLOT),target/bench/plot.svg))

bench-fleet: build cli envoy kubectl ## Measure `byname serve` with 5,000 simulated sidecars, in ten minutes (QUICK=1 for 500 in two, PART=change or beside for one part); as root with Go, istiod beside it
	$(CARGO) build --quiet --profile native --package byname-fleet
	@$(XTASK) bench-fleet $(if $(QUICK),--quick) $(if $(PART),--part $(PART))

bench-core: toolchain ## Measure resolution and a new table natively, by the number of Services
	$(CARGO) bench --package byname-core

test: test-native test-wasm test-fuzz test-cli test-envoy test-reproducible ## Run all tests

test-native: toolchain ## Test the core, the xDS protocol, xtask and the test support
	$(CARGO) test --workspace --exclude byname-filter --exclude byname --exclude byname-cluster --exclude byname-containers

test-cli: build envoy kubectl istio-crds grpc ## Test the program, alone and with a real Envoy
	$(CARGO) test --package byname

test-wasm: toolchain ## Test the core in wasm, under Node.js
	@$(XTASK) wasm-test-runner
	PATH="$$PATH:$(CURDIR)/target/tools/node" \
		CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$(CURDIR)/target/tools/bin/wasm-bindgen-test-runner \
		$(CARGO) test --package byname-core --target $(WASM)

test-fuzz: toolchain ## Replay the fuzzing corpus
	$(FUZZ) test --locked $(IN_FUZZ) --test replay -- --nocapture

test-envoy: build envoy image ## Test the shipped module in a real Envoy
	$(CARGO) test --package byname-filter

test-cluster: build cli envoy kubectl grpc image ## Test against a real Kubernetes, CoreDNS and Istio, as root and with Go (TEST=names for one target)
	@$(XTASK) cluster $(TEST)

test-compose: build cli envoy ## Test the container examples on this machine's Docker engine
	$(CARGO) test --package byname-containers

test-reproducible: build ## Check that another directory gives the same module, byte for byte
	@$(XTASK) reproduce

test-dockerfile: build ## Build the module's image with Docker and check it (pulls nothing)
	@$(XTASK) dockerfile

picture: toolchain ## Draw docs/explain.svg from what `byname explain` prints
	UPDATE_DOCS=1 $(CARGO) test --quiet --package byname --test it a_picture_of_explain

schema: ## Write docs/configuration.schema.json from the configuration's structs
	@$(XTASK) schema

fuzz: toolchain ## Fuzz the core, each target for SECONDS_EACH=60, or only TARGET
	@$(XTASK) fuzz $(if $(SECONDS_EACH),--seconds-each $(SECONDS_EACH)) $(if $(TARGET),--target $(TARGET))

reliability: build envoy ## Push good and bad tables while an upstream dies, under load, for SECONDS=60 each; then what happens to serve, cut from the API for CUT_SECONDS=600
	@$(XTASK) reliability $(if $(SECONDS),--seconds $(SECONDS))
	BYNAME_CUT_SECONDS=$(or $(CUT_SECONDS),600) $(CARGO) test --package byname --test serve -- --nocapture failures clients hostile

test-alerts: ## Test the alerts of examples/monitoring, with Debian's promtool or PROMTOOL=/path/to/promtool
	@PROMTOOL="$(PROMTOOL)" ./xtask/promtool.sh
	$(or $(PROMTOOL),target/promtool/promtool) check rules examples/monitoring/alerts.yaml
	$(or $(PROMTOOL),target/promtool/promtool) test rules examples/monitoring/alerts.test.yaml

dashboard-picture: build cli envoy ## Draw docs/pictures/dashboard.png, with PROMETHEUS=/path/to/prometheus
	@$(XTASK) dashboard

lint: toolchain ## Check formatting, imports, clippy (native and wasm), licences and sources of dependencies
	$(CARGO) fmt --all --check
	@$(XTASK) layers
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --package byname-filter --target $(WASM) -- --deny warnings
	$(CARGO) fmt $(IN_FUZZ) --check
	$(FUZZ) clippy --locked $(IN_FUZZ) --all-targets -- --deny warnings
	@$(XTASK) cargo-deny
	target/tools/bin/cargo-deny check bans licenses sources

audit: toolchain ## Check dependencies for known vulnerabilities (downloads advisories from GitHub)
	@$(XTASK) cargo-deny
	target/tools/bin/cargo-deny check advisories

envoy: ## Install the pinned Envoy into target/envoy, unless ENVOY is set
	@$(XTASK) envoy

kubectl: ## Install kubectl into target/kubectl, unless KUBECTL is set
	@$(XTASK) kubectl

istio-crds: ## Install models of Istio's CRDs into target/istio-crds
	@$(XTASK) istio-crds

grpc: ## Install Python's gRPC into target/grpc
	@$(XTASK) grpc

clean: ## Remove everything that was built or installed
	rm -rf target

toolchain:
	@./xtask/toolchain.sh

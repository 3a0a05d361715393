# The images. `docker build .` makes the module's, which a WasmPlugin names; `docker build --target cli .` that of the
# program with the module beside it. Any builder takes this, without BuildKit as well, which then builds the program too.

# The compiler is that of rust-toolchain.toml.
FROM rust:1.95.0-slim-bookworm AS sources
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /byname
# The target for wasm, in a layer that lasts as long as the compiler does.
COPY Makefile rust-toolchain.toml ./
COPY xtask/toolchain.sh xtask/
RUN make toolchain
COPY . .

FROM sources AS module-build
RUN make build

FROM sources AS program-build
RUN make cli

# What serves is what was started: nothing here is written to, and nobody is root.
FROM debian:bookworm-slim AS cli
LABEL org.opencontainers.image.title="byname" \
      org.opencontainers.image.description="Turns Kubernetes objects into configuration for the filter byname" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE /usr/local/share/byname/
COPY --from=module-build /byname/target/byname.wasm /usr/local/share/byname/
COPY --from=program-build /byname/target/native/byname /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["byname"]

# One layer with one file of this name: Istio's agent looks for it in the last layer.
FROM scratch AS module
LABEL org.opencontainers.image.title="byname" \
      org.opencontainers.image.description="A proxy-wasm filter that steers requests to Kubernetes Services by their names" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=module-build /byname/target/byname.wasm /plugin.wasm

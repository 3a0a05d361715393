#!/bin/sh
# Makes sure that the compiler of rust-toolchain.toml is there, with the wasm target. Says what it does when it does it.
set -eu
target=wasm32-unknown-unknown
command -v cargo >/dev/null || {
    echo "cargo is missing: install Rust by rustup, https://rustup.rs" >&2
    exit 1
}
if [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    exit 0
fi
command -v rustup >/dev/null || {
    echo "the target $target is missing and so is rustup: add the target to your Rust by its own means" >&2
    exit 1
}
echo "Rust: adding the target $target"
rustup target add "$target"

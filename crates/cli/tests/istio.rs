//! `examples/istio`: the folder matches what the program prints, Istio's CRDs accept it, the commands of its READMEs
//! work, and a real Envoy with istiod's configuration reaches the right upstreams.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

#[path = "istio/crds.rs"]
mod crds;
#[path = "istio/istiod.rs"]
mod istiod;
#[path = "istio/mesh.rs"]
mod mesh;
#[path = "istio/patches.rs"]
mod patches;
#[path = "istio/readme.rs"]
mod readme;
#[path = "istio/requests.rs"]
mod requests;

use std::{fs, path::Path, process::Command};

use byname_test_support::{repository, yaml_documents};
use serde_json::Value;

const SHOP: &str = "examples/cluster/shop.yaml";
const IMAGE: &str = concat!("oci://registry.example.com/byname:", env!("CARGO_PKG_VERSION"));
const SUM: &str = "d9c13e5665cef171f816ab8227d10d0ef35f6acf47669805a5248b1fc6adf2a2";

/// The output of `byname compile` for the namespace `shop` of the shop.
fn compile(args: &[&str]) -> String {
    let seen = ["compile", "-f", SHOP, "-n", "shop", "--visible", "shop", "--visible", "billing"];
    byname(&[&seen, args].concat())
}

fn byname(args: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_byname")).args(args).current_dir(repository()).output().expect("it starts");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn example(name: &str) -> String {
    let path = Path::new("examples/istio").join(name);
    fs::read_to_string(repository().join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn objects(name: &str) -> Vec<Value> {
    yaml_documents(&example(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

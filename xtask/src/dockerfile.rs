//! Builds the last stage of the Dockerfile with Docker, and reads the pushed form of the image as Istio's agent does.
//!
//! The stage that compiles the module is replaced by a stage that has it, because its base image would have to be
//! pulled.

use std::{collections::BTreeMap, fs, io::Read, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use byname_test_support::image::{DOCKER_LAYER, DOCKER_MANIFEST, Layout, REF_NAME};
use serde_json::{Value, json};

use crate::{
    image::{Blobs, gzip},
    module::SHIPPED,
};

const LAST: &str = "FROM scratch AS module\n";
const STAND_IN: &str =
    "FROM scratch AS module-build\nCOPY byname.wasm /byname/target/byname.wasm\nLABEL byname.stand-in=true\n";

/// Builds and saves the image, and compares its module with [`SHIPPED`].
pub(crate) fn check(root: &Path) -> Result<()> {
    let wasm = fs::read(root.join(SHIPPED)).with_context(|| format!("cannot read {SHIPPED}: run `make build`"))?;
    let dockerfile = fs::read_to_string(root.join("Dockerfile"))?;
    let (_, last) = dockerfile.split_once(LAST).with_context(|| format!("the Dockerfile has no {LAST:?}"))?;
    let work = tempfile::Builder::new().prefix("byname-dockerfile-").tempdir()?;
    let context = work.path().join("context");
    fs::create_dir(&context)?;
    fs::write(context.join("Dockerfile"), format!("{STAND_IN}{LAST}{last}"))?;
    fs::write(context.join("byname.wasm"), &wasm)?;
    let id = docker(Command::new("docker").args(["build", "--quiet"]).arg(&context))?;
    let id = String::from_utf8(id)?;
    // Save by id, so that no name of a user's image is taken.
    let saved = docker(Command::new("docker").args(["save", id.trim()]));
    docker(Command::new("docker").args(["rmi", "--force", id.trim()]))?;
    docker(Command::new("docker").args(["image", "prune", "--force", "--filter", "label=byname.stand-in=true"]))?;
    let pushed = work.path().join("pushed");
    push(&saved?, &pushed)?;
    ensure!(Layout::open(&pushed)?.wasm_plugin("built")? == wasm, "Istio's agent would read a different module");
    println!("the Dockerfile's image has {SHIPPED} where Istio's agent expects it");
    Ok(())
}

/// Writes what a push makes of a saved image: a manifest of Docker's, with gzipped layers.
fn push(saved: &[u8], to: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(saved).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.insert(name, content);
    }
    let file = |name: &Value| {
        let content = name.as_str().and_then(|name| files.get(name));
        content.with_context(|| format!("the engine saved no {name}"))
    };
    fs::create_dir_all(to.join("blobs/sha256"))?;
    let blobs = Blobs { directory: to };
    let manifest: Value = serde_json::from_slice(file(&json!("manifest.json"))?)?;
    let layers = manifest[0]["Layers"].as_array().context("the engine saved no layers")?;
    ensure!(layers.len() == 1, "the image must have one layer, not {}", layers.len());
    let layers: Vec<Value> =
        layers.iter().map(|layer| blobs.add(DOCKER_LAYER, &gzipped(file(layer)?)?)).collect::<Result<_>>()?;
    let config = blobs.add("application/vnd.docker.container.image.v1+json", file(&manifest[0]["Config"])?)?;
    let manifest = json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": layers});
    let mut descriptor = blobs.json(DOCKER_MANIFEST, &manifest)?;
    descriptor["annotations"] = json!({REF_NAME: "built"});
    fs::write(to.join("index.json"), json!({"schemaVersion": 2, "manifests": [descriptor]}).to_string())?;
    Ok(fs::write(to.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?)
}

/// A layer as it is pushed. Engines with containerd's image store save layers gzipped.
fn gzipped(layer: &[u8]) -> Result<Vec<u8>> {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    if layer.starts_with(GZIP) { Ok(layer.to_vec()) } else { gzip(layer) }
}

fn docker(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().context("docker cannot be run: this step needs Docker")?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

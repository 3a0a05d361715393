//! A directory in the OCI image layout, read as Istio's agent reads the image of a WasmPlugin.
//!
//! The agent's rules (pkg/wasm/imagefetcher.go and cache.go):
//! - A manifest of Docker's media type has the module in its last layer, a gzipped tar of Docker's media type.
//! - Any other manifest may have the module in its last layer, a gzipped tar of OCI's media type.
//! - The module is the first file named `plugin.wasm` in the tar, in any directory.
//! - Otherwise the manifest has exactly two layers. One has the media type [`WASM_LAYER`] and is the module itself.
//! - The `sha256` of a WasmPlugin is compared with the digest of the manifest, and not with the digest of the module.
//! - The result must begin like a WebAssembly module.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The media type of OCI's manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The media type of OCI's gzipped tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The media type of Docker's gzipped tar.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// The media type of a module outside any tar.
pub const WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
/// The annotation of an index entry that has the tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

const PLUGIN: &str = "plugin.wasm";

/// A directory in the OCI image layout.
pub struct Layout {
    directory: PathBuf,
    index: Value,
}

/// A manifest of the layout.
pub struct Manifest {
    /// The digest, which is compared with the `sha256` of a WasmPlugin.
    pub digest: String,
    /// The manifest itself.
    pub content: Value,
}

impl Layout {
    /// Opens the layout in `directory`.
    ///
    /// # Errors
    /// If the directory has no such layout.
    pub fn open(directory: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<Value> {
            let path = directory.join(name);
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
        };
        let marker = read("oci-layout")?;
        ensure!(marker["imageLayoutVersion"] == "1.0.0", "this is another version of the image layout: {marker}");
        Ok(Self { directory: directory.to_owned(), index: read("index.json")? })
    }

    /// All tags.
    ///
    /// # Errors
    /// If a manifest has no tag.
    pub fn tags(&self) -> Result<Vec<&str>> {
        let tag = |entry| self.tag(entry).context("a manifest of the index has no tag");
        self.index["manifests"].as_array().context("the index lists no manifests")?.iter().map(tag).collect()
    }

    fn tag<'a>(&self, entry: &'a Value) -> Option<&'a str> {
        entry["annotations"][REF_NAME].as_str()
    }

    /// The manifest of `tag`.
    ///
    /// # Errors
    /// If there is no such manifest, or its size or digest differs from the index.
    pub fn manifest(&self, tag: &str) -> Result<Manifest> {
        let entries = self.index["manifests"].as_array().context("the index lists no manifests")?;
        let entry = entries.iter().find(|entry| self.tag(entry) == Some(tag));
        let entry = entry.with_context(|| format!("no manifest has the tag {tag}"))?;
        let content: Value = serde_json::from_slice(&self.blob(entry)?).context("the manifest is not JSON")?;
        ensure!(content["mediaType"] == entry["mediaType"], "the index and the manifest differ in its media type");
        Ok(Manifest { digest: text(&entry["digest"])?.to_owned(), content })
    }

    /// The content of a descriptor, checked for its size and digest.
    ///
    /// # Errors
    /// If the content is missing, or its size or digest differs.
    pub fn blob(&self, descriptor: &Value) -> Result<Vec<u8>> {
        let digest = text(&descriptor["digest"])?;
        let hex = digest.strip_prefix("sha256:").with_context(|| format!("{digest} is no SHA-256"))?;
        let bytes = fs::read(self.directory.join("blobs/sha256").join(hex))
            .with_context(|| format!("there is no blob {digest}"))?;
        ensure!(
            descriptor["size"] == bytes.len(),
            "{digest} has {} bytes, and not {}",
            bytes.len(),
            descriptor["size"]
        );
        ensure!(sha256(&bytes) == hex, "the blob {digest} is another");
        Ok(bytes)
    }

    /// The module that Istio's agent extracts.
    ///
    /// # Errors
    /// If the agent would refuse the image. The error has the reasons.
    pub fn wasm_plugin(&self, tag: &str) -> Result<Vec<u8>> {
        let manifest = self.manifest(tag)?.content;
        let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
        let module = if manifest["mediaType"] == DOCKER_MANIFEST {
            self.packed(layers, DOCKER_LAYER)?
        } else {
            match self.packed(layers, OCI_LAYER) {
                Ok(module) => module,
                Err(error) => self.unpacked(layers).with_context(|| format!("not as a standard image: {error:#}"))?,
            }
        };
        ensure!(module.starts_with(b"\0asm"), "what is called {PLUGIN} is not WebAssembly");
        Ok(module)
    }

    fn packed(&self, layers: &[Value], media_type: &str) -> Result<Vec<u8>> {
        let layer = layers.last().context("the manifest has no layers")?;
        ensure!(layer["mediaType"] == media_type, "the last layer is {}, and not {media_type}", layer["mediaType"]);
        let blob = self.blob(layer)?;
        for entry in tar::Archive::new(GzDecoder::new(&*blob)).entries()? {
            let mut entry = entry?;
            if entry.path()?.file_name().is_some_and(|name| name == PLUGIN) {
                let mut module = Vec::new();
                entry.read_to_end(&mut module)?;
                return Ok(module);
            }
        }
        bail!("the layer holds no {PLUGIN}")
    }

    fn unpacked(&self, layers: &[Value]) -> Result<Vec<u8>> {
        ensure!(layers.len() == 2, "an artifact has two layers, and not {}", layers.len());
        let layer = layers.iter().find(|layer| layer["mediaType"] == WASM_LAYER);
        self.blob(layer.with_context(|| format!("no layer is {WASM_LAYER}"))?)
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} should be text"))
}

/// The SHA-256 of `bytes`, in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

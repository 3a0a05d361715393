//! A directory in the OCI image layout, read as Istio's agent reads an image of a WasmPlugin.
//!
//! Its rules (pkg/wasm/imagefetcher.go and cache.go), in our own words:
//! - A manifest that calls itself Docker's has the module in its last layer, which is a gzipped tar of Docker's media type.
//! - Any other may have it in its last layer, if that is a gzipped tar of OCI's media type.
//! - In such a tar it is the first file called `plugin.wasm`, in whatever directory.
//! - Else the manifest has exactly two layers, one of which has the media type [`WASM_LAYER`]: the module itself, unpacked.
//! - The `sha256` of a WasmPlugin is compared with the digest of the manifest, and not with that of the module.
//! - What comes out has to begin as WebAssembly does.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The manifest of OCI.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The manifest of Docker.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A gzipped tar, as OCI calls it.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A gzipped tar, as Docker calls it.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// A module that is not packed.
pub const WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
/// What stands in an index for a tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

const PLUGIN: &str = "plugin.wasm";

/// A directory in the OCI image layout.
pub struct Layout {
    directory: PathBuf,
    index: Value,
}

/// One manifest of it.
pub struct Manifest {
    /// What the `sha256` of a WasmPlugin is compared with.
    pub digest: String,
    /// The manifest itself.
    pub content: Value,
}

impl Layout {
    /// The one in `directory`.
    ///
    /// # Errors
    /// Where it is none.
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

    /// Every tag in it.
    ///
    /// # Errors
    /// Where a manifest has none.
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
    /// Where there is none, or it is not what the index says.
    pub fn manifest(&self, tag: &str) -> Result<Manifest> {
        let entries = self.index["manifests"].as_array().context("the index lists no manifests")?;
        let entry = entries.iter().find(|entry| self.tag(entry) == Some(tag));
        let entry = entry.with_context(|| format!("no manifest has the tag {tag}"))?;
        let content: Value = serde_json::from_slice(&self.blob(entry)?).context("the manifest is not JSON")?;
        ensure!(content["mediaType"] == entry["mediaType"], "the index and the manifest differ in its media type");
        Ok(Manifest { digest: text(&entry["digest"])?.to_owned(), content })
    }

    /// What a descriptor stands for: of the size and with the digest that it says.
    ///
    /// # Errors
    /// Where it is not.
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

    /// The module that Istio's agent gets.
    ///
    /// # Errors
    /// Where it would refuse the image, with its reasons.
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

//! The module as images for Istio's agent, in a directory in the OCI image layout. `byname_test_support::image` has the
//! agent's rules.
//!
//! There are two tagged manifests. The standard image has one layer and works with every registry and engine. The
//! artifact has the module itself. The directory also has a `manifest.json`, so that engines can load a tar of it.
//!
//! The same module always gives the same bytes, because a WasmPlugin pins an image by the digest of its manifest.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use byname_test_support::image::{Layout, OCI_LAYER, OCI_MANIFEST, REF_NAME, WASM_LAYER, sha256};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::module::SHIPPED;

/// The directory of the images.
pub(crate) const LAYOUT: &str = "target/image";
/// The version of the workspace, from Cargo.toml.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

const DESCRIPTION: &str =
    "A proxy-wasm filter that steers requests to Kubernetes Services by the names that programs use";

/// The media type of the artifact's other layer.
const CONFIG_LAYER: &str = "application/vnd.module.wasm.config.v1+json";

/// The tag of the artifact of `version`. The tag of the standard image is the version itself.
pub(crate) fn artifact_tag(version: &str) -> String {
    format!("{version}-artifact")
}

/// Writes [`LAYOUT`], checks it as Istio's agent reads it, and prints the digests of the images.
pub(crate) fn make(root: &Path) -> Result<()> {
    let wasm = fs::read(root.join(SHIPPED)).with_context(|| format!("cannot read {SHIPPED}: run `make build`"))?;
    let directory = root.join(LAYOUT);
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    write(&directory, &wasm, VERSION)?;
    let layout = Layout::open(&directory)?;
    for tag in layout.tags()? {
        ensure!(layout.wasm_plugin(tag)? == wasm, "Istio's agent would read a different module from {LAYOUT}:{tag}");
        println!("{LAYOUT}:{tag} {}", layout.manifest(tag)?.digest);
    }
    Ok(())
}

/// Writes both images of a module into `directory`.
fn write(directory: &Path, wasm: &[u8], version: &str) -> Result<()> {
    let blobs = Blobs { directory };
    fs::create_dir_all(directory.join("blobs/sha256"))?;
    let standard = standard_image(&blobs, wasm, version)?;
    let artifact = artifact(&blobs, wasm, version)?;
    let manifest = |manifest: &Value, tag: &str| -> Result<Value> {
        let mut descriptor = blobs.json(OCI_MANIFEST, manifest)?;
        descriptor["annotations"] = json!({REF_NAME: tag});
        Ok(descriptor)
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest(&standard, version)?, manifest(&artifact, &artifact_tag(version))?],
    });
    // The image of the CLI has the name byname.
    let for_engines = json!([{
        "Config": blob_path(&standard["config"])?,
        "RepoTags": [format!("byname-module:{version}")],
        "Layers": [blob_path(&standard["layers"][0])?],
    }]);
    for (name, content) in
        [("oci-layout", json!({"imageLayoutVersion": "1.0.0"})), ("index.json", index), ("manifest.json", for_engines)]
    {
        fs::write(directory.join(name), content.to_string()).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// The image with `plugin.wasm` in a single layer. The Dockerfile makes the same.
fn standard_image(blobs: &Blobs<'_>, wasm: &[u8], version: &str) -> Result<Value> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "plugin.wasm", 0o644, wasm)?;
    let tar = archive.into_inner()?;
    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        // A module runs on any architecture. Clients that select by architecture, Istio's agent among them, select this
        // one.
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": annotations(version)},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&tar))]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "make image"}],
    });
    let mut annotations = annotations(version);
    annotations["module.wasm.image/variant"] = json!("compat");
    Ok(json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blobs.json("application/vnd.oci.image.config.v1+json", &config)?,
        "layers": [blobs.add(OCI_LAYER, &gzip(&tar)?)?],
        "annotations": annotations,
    }))
}

/// The artifact with the agent's two layers: a description of the module, and the module itself.
fn artifact(blobs: &Blobs<'_>, wasm: &[u8], version: &str) -> Result<Value> {
    let purpose = json!({"type": "envoy_proxy", "abiVersions": ["0.2.1"], "config": {}});
    let mut layers = [blobs.json(CONFIG_LAYER, &purpose)?, blobs.add(WASM_LAYER, wasm)?];
    for (layer, file) in layers.iter_mut().zip(["runtime-config.json", "plugin.wasm"]) {
        layer["annotations"] = json!({"org.opencontainers.image.title": file});
    }
    Ok(json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": CONFIG_LAYER,
        "config": blobs.json("application/vnd.oci.empty.v1+json", &json!({}))?,
        "layers": layers,
        "annotations": annotations(version),
    }))
}

fn annotations(version: &str) -> Value {
    json!({
        "org.opencontainers.image.title": "byname",
        "org.opencontainers.image.description": DESCRIPTION,
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
    })
}

/// Appends a file with a fixed owner and time, so that archives are reproducible.
pub(crate) fn append<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    bytes: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len().try_into()?);
    header.set_mode(mode);
    header.set_mtime(0);
    archive.append_data(&mut header, path, bytes).with_context(|| format!("cannot pack {path}"))
}

/// Compresses without a name or a time, so that the result is reproducible.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut encoder, bytes)?;
    Ok(encoder.finish()?)
}

/// The blobs of a layout.
pub(crate) struct Blobs<'a> {
    pub(crate) directory: &'a Path,
}

impl Blobs<'_> {
    /// Writes a JSON document and returns its descriptor.
    pub(crate) fn json(&self, media_type: &str, content: &Value) -> Result<Value> {
        self.add(media_type, content.to_string().as_bytes())
    }

    /// Writes a blob and returns its descriptor.
    pub(crate) fn add(&self, media_type: &str, bytes: &[u8]) -> Result<Value> {
        let descriptor =
            json!({"mediaType": media_type, "digest": format!("sha256:{}", sha256(bytes)), "size": bytes.len()});
        fs::write(self.directory.join(blob_path(&descriptor)?), bytes)?;
        Ok(descriptor)
    }
}

fn blob_path(descriptor: &Value) -> Result<String> {
    let digest = descriptor["digest"].as_str().context("a descriptor has a digest")?;
    Ok(format!("blobs/{}", digest.replace(':', "/")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use byname_test_support::image::{DOCKER_LAYER, DOCKER_MANIFEST};

    use super::*;

    const WASM: &[u8] = b"\0asm\x01\0\0\0";

    fn written() -> Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        write(directory.path(), WASM, "1.2.3")?;
        Ok(directory)
    }

    fn files(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                found.append(&mut files(&path)?);
            } else {
                found.insert(path.file_name().context("a name")?.to_string_lossy().into(), fs::read(&path)?);
            }
        }
        Ok(found)
    }

    #[test]
    fn istios_agent_reads_the_module_from_both_images() -> Result<()> {
        let directory = written()?;
        let layout = Layout::open(directory.path())?;
        assert_eq!(layout.tags()?, ["1.2.3", "1.2.3-artifact"]);
        for tag in layout.tags()? {
            assert_eq!(layout.wasm_plugin(tag)?, WASM);
            assert_eq!(layout.manifest(tag)?.content["annotations"]["org.opencontainers.image.version"], "1.2.3");
        }
        let layers = |tag: &str| -> Result<Vec<Value>> {
            let layers = layout.manifest(tag)?.content["layers"].as_array().context("layers")?.clone();
            Ok(layers.into_iter().map(|layer| layer["mediaType"].clone()).collect())
        };
        assert_eq!(layers("1.2.3")?, [OCI_LAYER]);
        assert_eq!(layers("1.2.3-artifact")?, [CONFIG_LAYER, WASM_LAYER]);
        Ok(())
    }

    #[test]
    fn images_are_reproducible() -> Result<()> {
        assert_eq!(files(written()?.path())?, files(written()?.path())?);
        Ok(())
    }

    /// An engine unpacks the layers and compares them with the configuration.
    #[test]
    fn engines_can_load_the_layout() -> Result<()> {
        let directory = written()?;
        let manifest: Value = serde_json::from_slice(&fs::read(directory.path().join("manifest.json"))?)?;
        let read = |path: &Value| fs::read(directory.path().join(path.as_str().unwrap_or_default()));
        let config: Value = serde_json::from_slice(&read(&manifest[0]["Config"])?)?;
        let mut tar = Vec::new();
        let layer = read(&manifest[0]["Layers"][0])?;
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*layer), &mut tar)?;
        assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{}", sha256(&tar))]));
        assert_eq!(manifest[0]["RepoTags"], json!(["byname-module:1.2.3"]));
        let mut archive = tar::Archive::new(&*tar);
        let names: Vec<_> = archive.entries()?.map(|entry| Ok(entry?.path()?.into_owned())).collect::<Result<_>>()?;
        assert_eq!(names, [Path::new("plugin.wasm")]);
        Ok(())
    }

    type ManifestChange = fn(&mut Value);

    /// The agent's result for an image with a changed manifest.
    fn changed(tag: &str, change: ManifestChange) -> Result<Result<Vec<u8>>> {
        let directory = written()?;
        let mut manifest = Layout::open(directory.path())?.manifest(tag)?.content;
        change(&mut manifest);
        let media_type = manifest["mediaType"].as_str().unwrap_or_default();
        let mut descriptor = Blobs { directory: directory.path() }.json(media_type, &manifest)?;
        descriptor["annotations"] = json!({REF_NAME: tag});
        let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
        fs::write(directory.path().join("index.json"), index.to_string())?;
        Ok(Layout::open(directory.path())?.wasm_plugin(tag))
    }

    #[test]
    fn docker_manifests_are_read_too() -> Result<()> {
        let of_docker: ManifestChange = |manifest| {
            manifest["mediaType"] = json!(DOCKER_MANIFEST);
            manifest["layers"][0]["mediaType"] = json!(DOCKER_LAYER);
        };
        assert_eq!(changed("1.2.3", of_docker)??, WASM);
        Ok(())
    }

    /// The test support's reader refuses what Istio's agent refuses.
    #[test]
    fn broken_images_are_refused() -> Result<()> {
        let rows: [(&str, ManifestChange, &str); 6] = [
            ("1.2.3", |manifest| manifest["layers"] = json!([]), "no layers"),
            ("1.2.3", |manifest| manifest["layers"][0]["mediaType"] = json!("text/plain"), "text/plain"),
            ("1.2.3", |manifest| manifest["mediaType"] = json!(DOCKER_MANIFEST), "diff.tar.gzip"),
            ("1.2.3", |manifest| manifest["layers"][0]["size"] = json!(1), "bytes, and not 1"),
            (
                "1.2.3-artifact",
                |manifest| manifest["layers"][1]["mediaType"] = json!("application/wasm"),
                "no layer is",
            ),
            (
                "1.2.3-artifact",
                |manifest| drop(manifest["layers"].as_array_mut().map(|layers| layers.remove(0))),
                "two",
            ),
        ];
        for (tag, change, complaint) in rows {
            let refused = changed(tag, change)?.expect_err(complaint);
            assert!(format!("{refused:#}").contains(complaint), "{refused:#}");
        }
        Ok(())
    }
}

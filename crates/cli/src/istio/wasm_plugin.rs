//! The filter as a WasmPlugin.

use super::object::{IstioObject, namespace};
use crate::{
    compile::{self, Compiled},
    input::InputError,
    output::yaml::{Yaml, map},
};

const COMMENT: &str = "\
byname in every sidecar of the namespace, made by `byname compile`. Use `kubectl create` and `kubectl replace`: `kubectl apply`
would keep a second copy in an annotation, whose limit is 256 KiB.";

const SHA256: &str = "\
Istio runs only an image with this checksum: of the manifest for oci://, of the module for https://. If the image differs or
cannot be pulled, the sidecar answers 403 to every request that the filter would see.";

const PHASE: &str = "\
The first phase, so that filters that authorize, route or count requests see how the name resolved. The priority makes byname
the first plugin of the phase, unless another plugin has a higher priority.";

const FAIL_STRATEGY: &str = "\
If the module crashes, Envoy answers 503 until it reloads the module, about a second later. Istio before 1.27 has no
FAIL_RELOAD. Its default, FAIL_CLOSE, keeps answering 503. FAIL_OPEN would let requests through without steering.";

/// The image that a WasmPlugin names.
#[derive(Clone, Debug)]
pub struct Image {
    /// The URL of the image.
    pub url: String,
    /// The SHA-256 of the image's manifest, or of the module.
    pub sha256: Option<String>,
}

/// A WasmPlugin for the namespace of the caller.
///
/// # Errors
/// If `compiled` has no namespace, or the object would be too large.
pub fn wasm_plugin(compiled: &Compiled, image: &Image) -> Result<IstioObject, InputError> {
    let spec = map! {
        "url": image.url.clone(),
        "sha256": image.sha256.clone().map(|sum| Yaml::commented(SHA256, sum)),
        "match": Yaml::commented("Outbound traffic: the workload is the client.", [map! { "mode": "CLIENT" }]),
        "phase": Yaml::commented(PHASE, "AUTHN"),
        "priority": 100,
        "failStrategy": Yaml::commented(FAIL_STRATEGY, "FAIL_RELOAD"),
        "pluginConfig": by_line(compile::value(&compiled.wire), &["table", "services"]),
    };
    let kind = ("extensions.istio.io/v1alpha1", "WasmPlugin");
    IstioObject::new(kind, COMMENT, namespace(compiled)?, spec)
}

/// Lays out a map with one line per field, and likewise the maps along `path`. A diff then shows one line per changed Service, as
/// in the table's text.
fn by_line(value: Yaml, path: &[&str]) -> Yaml {
    let Yaml::Map(fields) = value else { return value };
    let lines = fields.into_iter().map(|(key, value)| match path.split_first() {
        Some((first, rest)) if *first == key => (key, by_line(value, rest)),
        _ => (key, Yaml::one_line(value)),
    });
    Yaml::Map(lines.collect())
}

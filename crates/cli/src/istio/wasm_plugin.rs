//! The filter as a WasmPlugin.

use super::object::{IstioObject, namespace};
use crate::{
    compile::Compiled,
    input::InputError,
    output::yaml::{Yaml, map},
};

const COMMENT: &str = "\
byname in every sidecar of the namespace, made by `byname compile`. `kubectl apply` would keep a second copy of it in an
annotation, which may have 256 KiB; `kubectl create` and `kubectl replace` do not.";

const SHA256: &str = "\
Istio runs no other image: the digest of the manifest for oci://, of the module itself for https://. If the image differs, or
cannot be pulled, the proxy answers 403 to all that the filter would have seen.";

const PHASE: &str = "\
As early as a plugin may run, so that whatever authorizes, routes or counts sees what the name means; and the first of that
phase, unless another has a higher priority.";

const FAIL_STRATEGY: &str = "\
If the module crashes, requests are answered with 503 until it is loaded again, after a second or so. Istio before 1.27 has no
FAIL_RELOAD: FAIL_CLOSE, the default, goes on with 503. FAIL_OPEN would send requests on unsteered.";

/// The image that a WasmPlugin names.
#[derive(Clone, Debug)]
pub struct Image {
    /// Where it is.
    pub url: String,
    /// The checksum of the module, or of the image.
    pub sha256: Option<String>,
}

/// A WasmPlugin for the namespace of the caller.
///
/// # Errors
/// Where there is none, or the object would be too large.
pub fn wasm_plugin(compiled: &Compiled, image: &Image) -> Result<IstioObject, InputError> {
    // The table's text is JSON.
    let config = serde_json::from_str(&compiled.text).unwrap_or(Yaml::Null);
    let spec = map! {
        "url": image.url.clone(),
        "sha256": image.sha256.clone().map(|sum| Yaml::commented(SHA256, sum)),
        "match": Yaml::commented("Outbound traffic: the workload is the client.", [map! { "mode": "CLIENT" }]),
        "phase": Yaml::commented(PHASE, "AUTHN"),
        "priority": 100,
        "failStrategy": Yaml::commented(FAIL_STRATEGY, "FAIL_RELOAD"),
        "pluginConfig": by_line(config, &["table", "services"]),
    };
    let kind = ("extensions.istio.io/v1alpha1", "WasmPlugin");
    IstioObject::new(kind, COMMENT, namespace(compiled)?, spec)
}

/// A map with a line for each field; the fields at `path` are such maps too. As in the table's text, a change of a Service is a
/// change of a line.
fn by_line(value: Yaml, path: &[&str]) -> Yaml {
    let Yaml::Map(fields) = value else { return value };
    let lines = fields.into_iter().map(|(key, value)| match path.split_first() {
        Some((first, rest)) if *first == key => (key, by_line(value, rest)),
        _ => (key, Yaml::one_line(value)),
    });
    Yaml::Map(lines.collect())
}

//! The filter as a WasmPlugin, or as the TrafficExtension that came after it.

use super::object::{IstioObject, Placement};
use crate::{
    compile::{self, Compiled},
    input::InputError,
    output::yaml::{Fields, Yaml, fields, map},
};

/// An object with a table may be larger than an annotation.
const COMMENT: &str = "\
byname in sidecars, made by `byname compile`: in those of its namespace, or from the root namespace in those of the whole mesh.
Use `kubectl create` and `kubectl replace`: `kubectl apply` would keep a second copy in an annotation, whose limit is 256 KiB.";

const COMMENT_WITH_SERVER: &str = "\
byname in sidecars, made by `byname compile`: in those of its namespace, or from the root namespace in those of the whole mesh.
The filter asks `byname serve` for the Services that its pod uses, so this object stays the same when Services change.";

const SHA256: &str = "\
Istio runs only an image with this checksum: of the manifest for oci://, of the module for https://. If the image differs or
cannot be pulled, the sidecar answers 403 to every request that the filter would see.";

const MATCH: &str = "\
Outbound traffic: the workload is the client. This matches gateways too; there byname passes every request on unchanged.";

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

/// A WasmPlugin.
///
/// # Errors
/// If the object would be too large.
pub fn wasm_plugin(compiled: &Compiled, image: &Image, placement: &Placement) -> Result<IstioObject, InputError> {
    let mut spec = extension_of_traffic(placement);
    spec.append(&mut module(compiled, image));
    let kind = ("extensions.istio.io/v1alpha1", "WasmPlugin");
    IstioObject::new(kind, comment(compiled), compiled, placement, Yaml::Map(spec))
}

/// A TrafficExtension, which Istio has since 1.30.
///
/// # Errors
/// If the object would be too large.
pub fn traffic_extension(compiled: &Compiled, image: &Image, placement: &Placement) -> Result<IstioObject, InputError> {
    let mut spec = extension_of_traffic(placement);
    spec.push(("wasm".into(), Yaml::Map(module(compiled, image))));
    let kind = ("extensions.istio.io/v1alpha1", "TrafficExtension");
    IstioObject::new(kind, comment(compiled), compiled, placement, Yaml::Map(spec))
}

fn comment(compiled: &Compiled) -> &'static str {
    if compiled.wire.server.is_some() { COMMENT_WITH_SERVER } else { COMMENT }
}

/// Which traffic passes through the filter, and where in the filter chain.
fn extension_of_traffic(placement: &Placement) -> Fields {
    fields! {
        "selector": placement.selector("matchLabels"),
        "match": Yaml::commented(MATCH, [map! { "mode": "CLIENT" }]),
        "phase": Yaml::commented(PHASE, "AUTHN"),
        "priority": 100,
    }
}

/// The module and its configuration.
fn module(compiled: &Compiled, image: &Image) -> Fields {
    fields! {
        "url": image.url.clone(),
        "sha256": image.sha256.clone().map(|sum| Yaml::commented(SHA256, sum)),
        "failStrategy": Yaml::commented(FAIL_STRATEGY, "FAIL_RELOAD"),
        "pluginConfig": by_line(compile::value(compiled.packed.as_ref().unwrap_or(&compiled.wire)), &["table", "services"]),
    }
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

//! What Istio's control plane hands to sidecars: the filter as a WasmPlugin, and what of Envoy's configuration has to change
//! for it as an EnvoyFilter.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    compile::{Compiled, Steered, UpstreamCluster, UpstreamClusters},
    envoy::{self, Style},
    fill::{ascii, fill, quoted},
    input::{InputError, InputErrors},
};

/// What an object may have: `--max-request-bytes` of etcd, 1.5 MiB.
pub const MAX_OBJECT_BYTES: usize = 1_572_864;

const SHA256: &str = "\
# No other image runs: the digest of the manifest for oci://, of the module itself for https://. What differs, or cannot be
# pulled, has the proxy answer 403 to all that the filter would have seen.
sha256: {{sum}}
";

/// An object as text, and how large the API server's store has it.
#[derive(Clone, Debug)]
pub struct IstioObject {
    /// As YAML.
    pub text: String,
    /// As JSON.
    pub bytes: usize,
}

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
    let namespace = namespace(compiled)?;
    let sha256 = image.sha256.as_ref().map(|sum| fill(SHA256, &[("sum", &quoted(sum))])).unwrap_or_default();
    let text = fill(
        include_str!("istio/wasmplugin.yaml.in"),
        &[
            ("namespace", &quoted(namespace)),
            ("image", &quoted(&image.url)),
            ("sha256", &sha256),
            ("json", &ascii(&compiled.text)),
        ],
    );
    // Text is stored as what it means.
    let config: Value = serde_json::from_str(&compiled.text).unwrap_or_default();
    let stored = json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": "byname", "namespace": namespace},
        "spec": {
            "url": image.url,
            "sha256": image.sha256,
            "match": [{"mode": "CLIENT"}],
            "phase": "AUTHN",
            "priority": 100,
            "failStrategy": "FAIL_RELOAD",
            "pluginConfig": config,
        },
    });
    fits("WasmPlugin", IstioObject { text, bytes: stored.to_string().len() })
}

/// An EnvoyFilter for the namespace of the caller. With a `module`, which the proxies have as a file, it brings the filter too;
/// else that comes by WasmPlugin.
///
/// # Errors
/// Where there is no namespace, where nothing is steered so that it would be needed, or where it would be too large.
pub fn envoy_filter(
    compiled: &Compiled,
    clusters: &UpstreamClusters,
    style: &Style,
    module: Option<&Path>,
) -> Result<IstioObject, InputErrors> {
    let namespace = namespace(compiled)?;
    let steered = Steered::of(&compiled.wire);
    if !steered.cluster && !steered.endpoint && module.is_none() {
        let reason = "is not needed: everything is steered by authority, and Istio's own routes match that";
        let fix = "write istio-wasmplugin, or steer by cluster or endpoint in --config";
        return Err(InputError::new("the EnvoyFilter", reason, fix).into());
    }
    let mut filters = String::new();
    if let Some(module) = module {
        let wasm = envoy::wasm(&compiled.text, module, false);
        filters.push_str(&filter(
            "The filter, before any that authorizes: steering changes the route that those would look at.",
            ("INSERT_FIRST", ""),
            &fill("name: byname\ntyped_config:\n  {{wasm}}\n", &[("wasm", &wasm)]),
        ));
    }
    let (mut added, mut problems) = (String::new(), InputErrors::default());
    let mut is_dynamic = false;
    for (name, upstream) in &clusters.by_name {
        match upstream {
            // Istio has those.
            UpstreamCluster::Endpoints(_) | UpstreamCluster::Passthrough => continue,
            UpstreamCluster::DynamicForwardProxy { .. } => is_dynamic = true,
            UpstreamCluster::External { .. } | UpstreamCluster::OriginalDst(_) => {}
        }
        match envoy::cluster(name, upstream, style) {
            Ok(cluster) => {
                let values = [("cluster", &*unlisted(&cluster))];
                added.push_str(&fill(include_str!("istio/cluster.yaml.in"), &values));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if is_dynamic {
        filters.push_str(&filter(
            "It resolves hosts outside the cluster that byname chose.",
            ("INSERT_BEFORE", "subFilter: {name: envoy.filters.http.router}\n"),
            &unlisted(&envoy::dynamic_forward_proxy()),
        ));
    }
    let text = fill(
        include_str!("istio/envoyfilter.yaml.in"),
        &[
            ("namespace", &quoted(namespace)),
            ("control_header", &quoted(&compiled.wire.steering.control_header)),
            ("filters", &filters),
            ("clusters", &added),
        ],
    );
    problems.or(())?;
    // As JSON, in which it is stored, the quotes of the configuration inside it are escaped.
    let escapes =
        if module.is_some() { compiled.text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count() } else { 0 };
    let bytes = text.len() + escapes;
    Ok(fits("EnvoyFilter", IstioObject { text, bytes })?)
}

fn filter(why: &str, (operation, before): (&str, &str), value: &str) -> String {
    let values = [("why", why), ("operation", operation), ("before", before), ("value", value)];
    fill(include_str!("istio/filter.yaml.in"), &values)
}

/// The one item of a list, without the comments before it.
fn unlisted(item: &str) -> String {
    let lines = item.lines().skip_while(|line| line.starts_with('#'));
    lines.map(|line| line.strip_prefix("- ").or(line.strip_prefix("  ")).unwrap_or(line)).fold(
        String::new(),
        |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        },
    )
}

fn namespace(compiled: &Compiled) -> Result<&str, InputError> {
    compiled.wire.caller.namespace.as_deref().ok_or_else(|| {
        InputError::new(
            "the object",
            "is in the namespace of its callers, and that is not said",
            "say --namespace or --pod",
        )
    })
}

fn fits(kind: &str, object: IstioObject) -> Result<IstioObject, InputError> {
    if object.bytes <= MAX_OBJECT_BYTES {
        return Ok(object);
    }
    let reason = format!("would have {} bytes, and an object may have {MAX_OBJECT_BYTES}", object.bytes);
    let fix = "let fewer namespaces be seen with --visible, and leave --endpoints out; or push the table by ECDS";
    Err(InputError::new(&format!("the {kind}"), reason, fix))
}

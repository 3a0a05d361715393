//! The filter: its configuration around the module's.

use std::path::{Path, PathBuf};

use super::{cluster::dns_cache, file::version, value::path};
use crate::{
    fill::{ascii, fill, quoted},
    output::directory_of,
};

/// What the filter is called in Envoy.
pub const FILTER_NAME: &str = "byname";

/// Where an Envoy has the module, if nothing else is said.
pub const DEFAULT_MODULE: &str = "/etc/byname/byname.wasm";

/// What of the filter's file comes from Envoy's side.
#[derive(Clone, Debug)]
pub struct EcdsFilter {
    /// What the filter is called in Envoy's bootstrap.
    pub name: String,
    /// Where Envoy finds the module.
    pub module: PathBuf,
}

impl Default for EcdsFilter {
    fn default() -> Self {
        Self { name: FILTER_NAME.into(), module: DEFAULT_MODULE.into() }
    }
}

/// The file that Envoy discovers the filter from: `json` is its configuration.
#[must_use]
pub fn ecds(json: &str, EcdsFilter { name, module }: &EcdsFilter) -> String {
    let filter = wasm(json, module, true);
    let template = include_str!("ecds.yaml.in");
    fill(template, &[("version", &quoted(&version(&filter))), ("name", &quoted(name)), ("filter", &filter)])
}

/// The filter as it stands in a chain.
pub(super) fn inline(json: &str, module: &Path) -> String {
    let template = "- name: byname\n  typed_config:\n    {{filter}}\n";
    fill(template, &[("filter", &wasm(json, module, true))])
}

/// The filter as it is discovered from `file`. Until there is one it passes everything through.
pub(super) fn discovered(file: &Path, namespace: &str, module: &Path) -> String {
    let nothing = format!("{{\"version\": 1, \"caller\": {{\"namespace\": {}}}}}", quoted(namespace));
    let directory = directory_of(file);
    fill(
        include_str!("discovered.yaml.in"),
        &[("file", &path(file)), ("directory", &path(directory)), ("filter", &wasm(&nothing, module, true))],
    )
}

/// Its configuration. Envoys older than 1.40 have the list of capabilities elsewhere.
pub(crate) fn wasm(json: &str, module: &Path, restricted: bool) -> String {
    let capabilities = if restricted { include_str!("capabilities.yaml.in") } else { "" };
    fill(
        include_str!("wasm.yaml.in"),
        &[("module", &path(module)), ("capabilities", capabilities), ("json", &ascii(json))],
    )
}

/// What resolves hosts outside the cluster.
pub(crate) fn dynamic_forward_proxy() -> String {
    fill(include_str!("dynamic-forward-proxy.yaml.in"), &[("dns_cache", &dns_cache())])
}

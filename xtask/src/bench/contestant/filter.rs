//! The HTTP filters of the contestants.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use byname_test_support::yaml_documents;
use serde_json::{Value, json};

use super::super::native;
use crate::module::SHIPPED;

pub(in super::super) const SCRIPT: &str = "benches/envoy/steer.lua";
/// The name of a discovered filter, as in envoy/ecds.yaml.
pub(super) const NAME: &str = "byname-shop";

/// The connection manager of a shipped bootstrap.
pub(in super::super) fn manager(root: &Path, bootstrap: &str) -> Result<Value> {
    let path = root.join("envoy").join(bootstrap).with_extension("yaml");
    let bootstrap = yaml_documents(&fs::read_to_string(&path)?)?.into_iter().next().unwrap_or_default();
    let manager = bootstrap.pointer("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config");
    manager.cloned().with_context(|| format!("{} has no connection manager", path.display()))
}

/// byname's filter from a bootstrap in `envoy/`, with another configuration.
pub(in super::super) struct ShippedFilter {
    pub(super) early_header_mutations: Value,
    pub(in super::super) filter: Value,
}

impl ShippedFilter {
    pub(in super::super) fn read(root: &Path, bootstrap: &str, configuration: &Value) -> Result<Self> {
        let manager = manager(root, bootstrap)?;
        let mut filter = manager["http_filters"][0].clone();
        let value = filter.pointer_mut("/typed_config/config/configuration/value");
        *value.with_context(|| format!("the first filter of envoy/{bootstrap}.yaml is not byname"))? =
            configuration.to_string().into();
        Ok(Self { early_header_mutations: manager["early_header_mutation_extensions"].clone(), filter })
    }
}

impl ShippedFilter {
    /// Has the listener write the port of the connection into `header`.
    pub(super) fn write_port_into(&mut self, header: &str) {
        let append = json!({"append": {
            "header": {"key": header, "value": "%DOWNSTREAM_LOCAL_PORT%"},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }});
        if let Some(mutations) = self.early_header_mutations.pointer_mut("/0/typed_config/mutations") {
            mutations.as_array_mut().into_iter().for_each(|mutations| mutations.push(append.clone()));
        }
    }
}

pub(in super::super) fn lua(script: &str) -> Value {
    json!({
        "name": NAME,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": script},
        },
    })
}

pub(super) fn wasm(module: &Path) -> Value {
    json!({
        "name": "noop",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "noop",
                "root_id": "noop",
                "vm_config": {
                    "vm_id": "noop",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
            },
        },
    })
}

/// Writes a filter to a file for ECDS.
pub(super) fn write(path: &Path, filter: Value, root: &Path) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    Ok(fs::write(path, text(filter, root)?)?)
}

/// The text of a file for ECDS.
pub(in super::super) fn text(mut filter: Value, root: &Path) -> Result<String> {
    let resource = json!({"name": NAME, "typed_config": filter["typed_config"].take()});
    let module = root.join(SHIPPED).display().to_string();
    // The shipped bootstraps name the module relative to the root of the repository.
    Ok(native::discovered("core.v3.TypedExtensionConfig", vec![resource]).replace(SHIPPED, &module))
}

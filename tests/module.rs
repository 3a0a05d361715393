//! The host functions that the shipped module imports and the functions that it exports. Bootstraps allow exactly
//! these.

#![allow(clippy::expect_used, clippy::panic, reason = "a panic fails the test")]

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use byname_core::wire::{MINOR, VERSION};
use byname_test_support::{module, repository, yaml_documents};
use serde_json::Value;
use wasmi::{Engine, Module};

const IMPORTS: [&str; 22] = [
    "proxy_call_foreign_function",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

const CALLBACKS: [&str; 7] = [
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_grpc_close",
    "proxy_on_grpc_receive",
    "proxy_on_request_headers",
    "proxy_on_tick",
];

/// What only a filter needs that asks a server: the rest of them can reach no upstream.
const FOR_A_SERVER: [&str; 8] = [
    "proxy_continue_stream",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_on_grpc_close",
    "proxy_on_grpc_receive",
    "proxy_set_effective_context",
];

/// Other exports that a host needs: the memory, the ABI version, the start, and the allocator for data from the host.
const PLUMBING: [&str; 4] = ["_initialize", "malloc", "memory", "proxy_abi_version_0_2_1"];

#[test]
fn imports_and_exports_are_exactly_the_listed_ones() -> Result<()> {
    let module = Module::new(&Engine::default(), module()?)?;
    let imports: BTreeSet<_> = module.imports().map(|import| (import.module(), import.name())).collect();
    assert_eq!(imports, IMPORTS.map(|name| ("env", name)).into());
    let exports: BTreeSet<_> = module.exports().map(|export| export.name()).collect();
    assert_eq!(exports, CALLBACKS.into_iter().chain(PLUMBING).collect());
    Ok(())
}

/// Every pod pulls the module. docs/performance.md has the size of each part, and `make sizes` measures it.
#[test]
fn has_at_most_330_kb() -> Result<()> {
    let bytes = module()?.len();
    assert!(bytes <= 330_000, "{bytes} bytes");
    Ok(())
}

/// `byname compile --server` tells the server, which sends no newer schema.
#[test]
fn says_which_schema_it_reads() -> Result<()> {
    let module = Module::new(&Engine::default(), module()?)?;
    let schema =
        module.custom_sections().find(|section| section.name() == "byname.schema").context("no such section")?;
    assert_eq!(String::from_utf8_lossy(schema.data()), format!("{VERSION}.{MINOR}"));
    Ok(())
}

#[test]
fn contains_no_path_of_the_build_machine() -> Result<()> {
    let module = module()?;
    let text = String::from_utf8_lossy(&module);
    let here = repository().canonicalize()?.display().to_string();
    let home = std::env::home_dir().context("there is no home directory")?.display().to_string();
    for path in [here.as_str(), &format!("{home}/"), "/home/", "/root/", "/Users/"] {
        assert!(!text.contains(path), "the module contains {path}");
    }
    assert!(text.contains("/crates/"), "panic messages have remapped paths");
    Ok(())
}

/// Envoy ignores an unknown capability silently. A missing one shows only as a host call that fails. `proxy_on_delete` is missing where
/// the end of a request does not matter and no push can change that.
#[test]
fn every_bootstrap_allows_exactly_what_the_module_uses() -> Result<()> {
    let everything: BTreeSet<&str> = IMPORTS.into_iter().chain(CALLBACKS).collect();
    for (directory, is_pushed) in [("envoy", false), ("envoy/ecds", true), ("examples/dns", false)] {
        for entry in fs::read_dir(repository().join(directory))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            let documents = yaml_documents(&text).with_context(|| path.display().to_string())?;
            let mut vms = Vec::new();
            documents.iter().for_each(|document| find_vms(document, &mut vms));
            assert!(!vms.is_empty(), "no vm_config was found in {}", path.display());
            let mut expected = everything.clone();
            let ends_matter = is_pushed || text.contains("config_discovery:");
            let asks = text.contains("\"server\": {");
            if !ends_matter && !asks {
                expected.remove("proxy_on_delete");
            }
            if !asks {
                expected.retain(|name| !FOR_A_SERVER.contains(name));
            }
            for vm in vms {
                let allowed = vm["capability_restriction_config"]["allowed_capabilities"].as_object();
                let allowed: BTreeSet<&str> =
                    allowed.into_iter().flat_map(|names| names.keys()).map(|name| &**name).collect();
                assert_eq!(allowed, expected, "{}", path.display());
            }
        }
    }
    Ok(())
}

fn find_vms<'y>(yaml: &'y Value, found: &mut Vec<&'y Value>) {
    found.extend(yaml.get("vm_config"));
    let children = yaml.as_object().into_iter().flat_map(|map| map.values());
    children.chain(yaml.as_array().into_iter().flatten()).for_each(|child| find_vms(child, found));
}

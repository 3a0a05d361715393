//! Makes the shipped module from the compiled one.
//!
//! The SDK exports every callback of proxy-wasm, and Envoy calls each exported callback: ten calls into the VM for a
//! small request instead of two. So this removes the exports that the filter does not implement, and the code that
//! only they needed.
//!
//! The filter's own callbacks replace the SDK's, so the SDK's dispatcher is removed too. Tables of virtual functions
//! keep some functions of the SDK that nobody calls. This empties their bodies, so that the module imports only what it
//! uses.

mod emptied;
mod imports;
mod merged;
mod names;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use byname_core::wire::SCHEMA;
use walrus::{ExportId, Module, ModuleConfig, RawCustomSection};

pub(crate) use imports::imported_functions;
pub(crate) use names::demangled;

/// The compiled module.
const BUILT: &str = "target/wasm32-unknown-unknown/release/byname_filter.wasm";

/// The shipped module.
pub(crate) const SHIPPED: &str = "target/byname.wasm";

/// The exports that the host needs or the filter implements.
const EXPORTS: &[&str] = &[
    "memory",
    "proxy_abi_version_0_2_1",
    "_initialize",
    // For data from the host.
    "malloc",
    "proxy_on_context_create",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_request_headers",
    "proxy_on_delete",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_close",
];

/// The filter's own exports with the exported names that they take over. The SDK already defines those names.
const RENAMED: &[(&str, &str)] = &[
    ("byname_malloc", "malloc"),
    ("byname_on_context_create", "proxy_on_context_create"),
    ("byname_on_configure", "proxy_on_configure"),
    ("byname_on_tick", "proxy_on_tick"),
    ("byname_on_request_headers", "proxy_on_request_headers"),
    ("byname_on_delete", "proxy_on_delete"),
    ("byname_on_grpc_receive", "proxy_on_grpc_receive"),
    ("byname_on_grpc_close", "proxy_on_grpc_close"),
];

/// The filter's imports: the host functions that `src/host.rs` declares.
const HOST_FUNCTIONS: &[&str] = &[
    "proxy_log",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_get_current_time_nanoseconds",
    "proxy_set_tick_period_milliseconds",
    "proxy_get_buffer_bytes",
    "proxy_get_header_map_pairs",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_send_local_response",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_close",
    "proxy_grpc_cancel",
    "proxy_set_effective_context",
    "proxy_continue_stream",
    "proxy_call_foreign_function",
];

/// The custom section with the newest schema of the configuration that the module reads, `VERSION.MINOR`. A server pushes no newer
/// one. `byname compile --server` reads the section.
const SCHEMA_SECTION: &str = "byname.schema";

/// The size limit for inlined functions, which gives the smallest module. A limit that is given holds at every level (docs/decisions/module-size.md).
const INLINING: &str = "-Cllvm-args=-inline-threshold=10";

/// Compiles the filter under `root`, strips the module into [`SHIPPED`], and prints its size.
pub(crate) fn ship(root: &Path) -> Result<()> {
    compile(root)?;
    let bytes = built(root)?;
    let shipped = strip(&bytes, FunctionNames::Dropped)?;
    let to = root.join(SHIPPED);
    // Replaced in one step, so that an Envoy that starts meanwhile reads a whole module.
    let next = to.with_extension("wasm.next");
    fs::write(&next, &shipped)
        .and_then(|()| fs::rename(&next, &to))
        .with_context(|| format!("cannot write {}", to.display()))?;
    println!("{SHIPPED}: {} bytes, of {} before stripping", shipped.len(), bytes.len());
    Ok(())
}

/// The shipped module as it was last compiled, with the names of its functions.
pub(crate) fn with_names(root: &Path) -> Result<Vec<u8>> {
    strip(&built(root)?, FunctionNames::Kept)
}

fn built(root: &Path) -> Result<Vec<u8>> {
    let path = root.join(BUILT);
    fs::read(&path).with_context(|| format!("cannot read {}: run `make build`", path.display()))
}

/// Compiles reproducibly: panic messages have no paths of this machine.
fn compile(root: &Path) -> Result<()> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home =
        cargo_home.or_else(|| Some(env::home_dir()?.join(".cargo"))).context("there is no home directory")?;
    let registries = fs::read_dir(cargo_home.join("registry/src")).into_iter().flatten().flatten();
    // The last matching prefix wins.
    let paths = [(root.to_owned(), "/byname"), (cargo_home.clone(), "/cargo")];
    let paths = paths.into_iter().chain(registries.map(|registry| (registry.path(), "/crates")));
    let mut flags: Vec<String> =
        paths.map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    flags.push(INLINING.to_owned());
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked", "--package", "byname-filter", "--target", "wasm32-unknown-unknown"])
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_TARGET_DIR", root.join("target"))
        .current_dir(root)
        .status()
        .context("cargo cannot be run")?;
    if !status.success() {
        bail!("the filter could not be compiled (see the error above)");
    }
    Ok(())
}

/// Whether the section with function names, a seventh of the file, is kept. A host does not need it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FunctionNames {
    Kept,
    Dropped,
}

fn strip(bytes: &[u8], names: FunctionNames) -> Result<Vec<u8>> {
    let config = || {
        let mut config = ModuleConfig::new();
        config.generate_producers_section(false).generate_name_section(names == FunctionNames::Kept);
        config
    };
    let mut module = config().parse(bytes).context("the compiler left something that is not a wasm module")?;
    for (ours, name) in RENAMED {
        let id = export(&module, ours).with_context(|| format!("the module does not export {ours}"))?;
        if let Some(theirs) = export(&module, name) {
            module.exports.delete(theirs);
        }
        module.exports.get_mut(id).name = (*name).to_owned();
    }
    for name in EXPORTS {
        if export(&module, name).is_none() {
            bail!("the module does not export {name}, which the host needs: has the SDK changed?");
        }
    }
    let surplus: Vec<_> =
        module.exports.iter().filter(|export| !EXPORTS.contains(&&*export.name)).map(walrus::Export::id).collect();
    surplus.into_iter().for_each(|id| module.exports.delete(id));
    walrus::passes::gc::run(&mut module);
    emptied::empty(&mut module)?;
    walrus::passes::gc::run(&mut module);
    check_imports(&module)?;
    module.customs.add(RawCustomSection { name: SCHEMA_SECTION.to_owned(), data: SCHEMA.into() });
    merged::merge(module.emit_wasm(), config)
}

fn export(module: &Module, name: &str) -> Option<ExportId> {
    module.exports.iter().find(|export| export.name == name).map(walrus::Export::id)
}

/// Envoy offers the functions of proxy-wasm. A module with other imports, such as WASI, would not load everywhere.
fn check_imports(module: &Module) -> Result<()> {
    for import in module.imports.iter() {
        if import.module != "env" || !HOST_FUNCTIONS.contains(&&*import.name) {
            bail!("the module imports {}.{}, which the filter does not use", import.module, import.name);
        }
    }
    Ok(())
}

//! The shipped module with a fault, because the module itself has none: what happens around a crash has to be seen all the same.

use std::fs;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use walrus::{ExportItem, FunctionBuilder, Module, ValType::I32, ir::BinaryOp};

use crate::module;

const CALLBACK: &str = "proxy_on_request_headers";

/// The shipped module, which crashes (traps) at each request with so many headers or more, pseudo-headers included.
///
/// # Errors
/// If the module is not built, or lacks the callback.
pub fn crashing_module(headers: i32) -> Result<Vec<u8>> {
    let mut module = Module::from_buffer(&module()?)?;
    let export = module.exports.iter().find(|export| export.name == CALLBACK);
    let export = export.with_context(|| format!("the module has no {CALLBACK}"))?;
    let ExportItem::Function(callback) = export.item else { bail!("{CALLBACK} is no function") };
    let export = export.id();
    let mut wrapper = FunctionBuilder::new(&mut module.types, &[I32; 3], &[I32]);
    let [context, count, is_end] = [(); 3].map(|()| module.locals.add(I32));
    let mut body = wrapper.func_body();
    body.local_get(count).i32_const(headers).binop(BinaryOp::I32GeU);
    body.if_else(
        None,
        |crash| {
            crash.unreachable();
        },
        |_| {},
    );
    body.local_get(context).local_get(count).local_get(is_end).call(callback);
    let wrapper = wrapper.finish(vec![context, count, is_end], &mut module.funcs);
    module.exports.get_mut(export).item = ExportItem::Function(wrapper);
    Ok(module.emit_wasm())
}

/// Writes [`crashing_module`] to a directory of its own, and returns the directory with the file's path.
///
/// # Errors
/// As above, or if the file cannot be written.
pub fn write_crashing_module(headers: i32) -> Result<(TempDir, String)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("crashing.wasm");
    fs::write(&path, crashing_module(headers)?)?;
    Ok((directory, path.display().to_string()))
}

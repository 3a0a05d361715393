//! Makes functions with the same code one: what was generic has several, whose types the code no longer tells apart.

use std::collections::HashMap;

use anyhow::{Context, Result};
use walrus::{
    ElementItems, FunctionId, FunctionKind, Module, ModuleConfig,
    ir::{self, VisitorMut},
};
use wasmparser::{Parser, Payload};

use super::imports::imported_functions;

/// Puts one function in the place of all that have its code, until none is left to be replaced: callers of the same functions may be the
/// same then. `parse` reads a module as it is to be kept.
pub(super) fn merge(mut bytes: Vec<u8>, parse: impl Fn() -> ModuleConfig) -> Result<Vec<u8>> {
    loop {
        let same = same_code(&bytes)?;
        if same.is_empty() {
            return Ok(bytes);
        }
        let mut config = parse();
        config.on_parse(move |module, ids| {
            let same = same.iter().map(|(one, kept)| Ok((ids.get_func(*one)?, ids.get_func(*kept)?)));
            replace(module, &same.collect::<Result<_>>()?);
            Ok(())
        });
        let mut module = config.parse(&bytes).context("the module cannot be read again")?;
        walrus::passes::gc::run(&mut module);
        bytes = module.emit_wasm();
    }
}

/// The functions whose code and type an earlier one has, with that one, by their indices.
fn same_code(bytes: &[u8]) -> Result<HashMap<u32, u32>> {
    let (mut types, mut imported, mut bodies) = (Vec::new(), 0, Vec::new());
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ImportSection(imports) => imported = imported_functions(imports)?,
            Payload::FunctionSection(section) => types = section.into_iter().collect::<Result<_, _>>()?,
            Payload::CodeSectionEntry(body) => bodies.push(body.as_bytes().to_vec()),
            _ => {}
        }
    }
    let (mut first, mut same) = (HashMap::new(), HashMap::new());
    for (index, code) in (imported..).zip(types.into_iter().zip(bodies)) {
        let kept = *first.entry(code).or_insert(index);
        if kept != index {
            same.insert(index, kept);
        }
    }
    Ok(same)
}

/// Calls, and refers to, the functions that are kept.
fn replace(module: &mut Module, same: &HashMap<FunctionId, FunctionId>) {
    struct Calls<'s>(&'s HashMap<FunctionId, FunctionId>);
    impl VisitorMut for Calls<'_> {
        fn visit_function_id_mut(&mut self, function: &mut FunctionId) {
            *function = self.0.get(function).copied().unwrap_or(*function);
        }
    }
    let mut calls = Calls(same);
    for function in module.funcs.iter_mut() {
        if let FunctionKind::Local(local) = &mut function.kind {
            let entry = local.entry_block();
            ir::dfs_pre_order_mut(&mut calls, local, entry);
        }
    }
    for element in module.elements.iter_mut() {
        if let ElementItems::Functions(functions) = &mut element.items {
            functions.iter_mut().for_each(|function| calls.visit_function_id_mut(function));
        }
    }
}

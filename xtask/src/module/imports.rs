//! Counts what a module imports.

use anyhow::Result;
use wasmparser::{ImportSectionReader, TypeRef};

/// The number of imported functions, whose indices come before those of the module's own.
pub(crate) fn imported_functions(imports: ImportSectionReader<'_>) -> Result<u32> {
    let mut count = 0;
    for import in imports.into_imports() {
        count += u32::from(matches!(import?.ty, TypeRef::Func(_)));
    }
    Ok(count)
}

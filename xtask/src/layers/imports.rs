//! The imports between the source files of a crate.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    modules::{Definition, ModuleTree},
    source::{Brought, UsedName, WrittenPath},
};

/// A name that one file imports from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) from: SourceFile,
    pub(super) to: SourceFile,
    /// The first line with the name.
    pub(super) line: usize,
    /// The path as the line writes it, up to the name.
    pub(super) path: String,
    pub(super) name: String,
}

/// A file and its folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceFile {
    pub(super) path: String,
    /// The top-level module; `None` for the crate's root.
    pub(super) folder: Option<String>,
}

/// The files of a crate, and all imports between them.
pub(super) struct CrateImports {
    pub(super) files: BTreeSet<SourceFile>,
    pub(super) imports: Vec<Import>,
}

/// Finds every import of a crate.
///
/// A name is imported from the file that defines it, not from files that re-export it. `mod` imports nothing. A file
/// that re-exports names of modules below it imports them only if it uses them itself.
pub(super) fn find(tree: &ModuleTree) -> CrateImports {
    let mut found = Finder { tree, imports: BTreeMap::new() };
    for (number, module) in tree.modules() {
        for used in &module.text.uses {
            found.add_use(number, used);
        }
        for path in &module.text.paths {
            found.add_path(number, path);
        }
    }
    let files = tree.modules().map(|(number, _)| file_of(tree, number)).collect();
    CrateImports { files, imports: found.imports.into_values().collect() }
}

struct Finder<'t> {
    tree: &'t ModuleTree,
    /// The imports by file, file and name. Each counts once.
    imports: BTreeMap<(String, String, String), Import>,
}

impl Finder<'_> {
    fn add_use(&mut self, from: usize, used: &UsedName) {
        let followed = self.tree.follow(from, &used.path);
        match followed.definition {
            Definition::Item { module, name } if !(used.is_handed_on && self.is_below(from, module)) => {
                self.add(from, module, &used.path, followed.segments, name);
            }
            // Names of a glob count where the code uses them. That misses traits that are used only for their methods.
            Definition::Module(module)
                if used.brought == Brought::Glob
                    && !self.tree.module(module).text.items.is_empty()
                    && !(used.is_handed_on && self.is_below(from, module)) =>
            {
                self.add(from, module, &used.path, followed.segments, "*".to_owned());
            }
            _ => {}
        }
    }

    fn add_path(&mut self, from: usize, path: &WrittenPath) {
        let followed = self.tree.follow(from, path);
        if let Definition::Item { module, name } = followed.definition {
            self.add(from, module, path, followed.segments, name);
        }
    }

    fn is_below(&self, above: usize, module: usize) -> bool {
        self.tree.module(module).path.starts_with(&self.tree.module(above).path)
    }

    fn add(&mut self, from: usize, to: usize, path: &WrittenPath, segments: usize, name: String) {
        let (from, to) = (file_of(self.tree, from), file_of(self.tree, to));
        if from.path == to.path {
            return;
        }
        let mut written = path.segments.get(..segments).unwrap_or_default().join("::");
        if name == "*" {
            written.push_str("::*");
        }
        let key = (from.path.clone(), to.path.clone(), name.clone());
        let import = Import { from, to, line: path.line, path: written, name };
        let known = self.imports.entry(key).or_insert_with(|| import.clone());
        if import.line < known.line {
            *known = import;
        }
    }
}

fn file_of(tree: &ModuleTree, module: usize) -> SourceFile {
    let root = &tree.module(0).file;
    let module = tree.module(module);
    let folder = module.path.first().filter(|_| module.file != *root).cloned();
    SourceFile { path: module.file.clone(), folder }
}

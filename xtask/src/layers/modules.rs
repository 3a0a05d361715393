//! The modules of one crate, and the files that define the names in a path.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::source::{self, Brought, DeclaredModule, ModuleText, WrittenPath};

/// Sources by their path from the repository's root.
pub(super) type Sources = BTreeMap<String, String>;

/// The modules of a crate. The first one is its root.
pub(super) struct ModuleTree(Vec<SourceModule>);

pub(super) struct SourceModule {
    /// The path from the crate's root, without `crate`.
    pub(super) path: Vec<String>,
    pub(super) file: String,
    pub(super) text: ModuleText,
    parent: usize,
    children: BTreeMap<String, usize>,
}

/// The definition that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Definition {
    /// A module, by its number.
    Module(usize),
    /// An item of a module of this crate.
    Item { module: usize, name: String },
    /// An item of another crate.
    Foreign,
}

/// A resolved path, and the number of segments up to the definition. Later segments are variants or functions of it.
pub(super) struct Followed {
    pub(super) definition: Definition,
    pub(super) segments: usize,
}

/// Modules whose names are being looked up. Re-exports may form circles.
type VisitedModules = Vec<(usize, String)>;

/// The directories with the files of a module's children.
struct Directories {
    /// For `mod name;`.
    children: String,
    /// For `#[path = "…"] mod name;`.
    attribute: String,
}

impl ModuleTree {
    /// Reads the crate whose root is the file `root`, and follows its `mod` declarations.
    pub(super) fn read(root: &str, sources: &Sources) -> Result<Self> {
        let mut tree = Self(Vec::new());
        let directory = directory_of(root);
        let directories = Directories { children: directory.clone(), attribute: directory };
        tree.add_file(root, (0, Vec::new()), &directories, sources)?;
        Ok(tree)
    }

    pub(super) fn modules(&self) -> impl Iterator<Item = (usize, &SourceModule)> {
        self.0.iter().enumerate()
    }

    pub(super) fn module(&self, number: usize) -> &SourceModule {
        &self.0[number]
    }

    fn add_file(
        &mut self,
        file: &str,
        place: (usize, Vec<String>),
        directories: &Directories,
        sources: &Sources,
    ) -> Result<usize> {
        let text = sources.get(file).with_context(|| format!("{file}: there is no such file"))?;
        let text = source::read(text).map_err(|error| {
            let line = error.span().start().line;
            anyhow::anyhow!("{file}:{line}: {error}")
        })?;
        self.add(file, place, text, directories, sources)
    }

    fn add(
        &mut self,
        file: &str,
        (parent, path): (usize, Vec<String>),
        mut text: ModuleText,
        directories: &Directories,
        sources: &Sources,
    ) -> Result<usize> {
        let number = self.0.len();
        let (inline, declared) = (std::mem::take(&mut text.inline), std::mem::take(&mut text.declared));
        let module = SourceModule { path, file: file.to_owned(), text, parent, children: BTreeMap::new() };
        self.0.push(module);
        for text in inline {
            let children = format!("{}/{}", directories.children, text.name);
            let directories = Directories { children: children.clone(), attribute: children };
            let name = text.name.clone();
            let child = self.add(file, (number, self.path_of(number, &name)), text, &directories, sources)?;
            self.0[number].children.insert(name, child);
        }
        for declaration in declared {
            let (child_file, child_directories) = find(file, &declaration, directories, sources)?;
            let place = (number, self.path_of(number, &declaration.name));
            let child = self.add_file(&child_file, place, &child_directories, sources)?;
            self.0[number].children.insert(declaration.name, child);
        }
        Ok(number)
    }

    fn path_of(&self, parent: usize, name: &str) -> Vec<String> {
        self.0[parent].path.iter().cloned().chain([name.to_owned()]).collect()
    }

    /// Follows a path written in module `from`, through re-exports, to the definition.
    pub(super) fn follow(&self, from: usize, path: &WrittenPath) -> Followed {
        if path.is_macro && path.segments.len() == 1 {
            let definition = self.macro_in_scope(from, &path.segments[0]);
            return Followed { definition, segments: 1 };
        }
        self.follow_segments(from, &path.segments, false, &mut Vec::new())
    }

    /// The definition of a macro that is called by its name alone: an import, or `macro_rules!` in an enclosing module.
    fn macro_in_scope(&self, from: usize, name: &str) -> Definition {
        if let Some(found) = self.look_up(from, name, false, &mut Vec::new()) {
            return found;
        }
        let mut module = from;
        loop {
            if self.0[module].text.macros.contains(name) {
                return Definition::Item { module, name: name.to_owned() };
            }
            if module == 0 {
                return Definition::Foreign;
            }
            module = self.0[module].parent;
        }
    }

    /// With `is_module`, the path is the beginning of a longer one: a module wins over a function of the same name.
    fn follow_segments(
        &self,
        from: usize,
        segments: &[String],
        is_module: bool,
        visited: &mut VisitedModules,
    ) -> Followed {
        let mut at = from;
        for (index, segment) in segments.iter().enumerate() {
            let is_first = index == 0;
            let found = match segment.as_str() {
                "crate" => Definition::Module(0),
                "self" if is_first => Definition::Module(at),
                "super" => Definition::Module(self.0[at].parent),
                name => {
                    let is_module = is_module || index + 1 < segments.len();
                    match self.look_up(at, name, is_module, visited) {
                        Some(found) => found,
                        None if is_first => Definition::Foreign,
                        // No source defines the name, but a macro may.
                        None => Definition::Item { module: at, name: name.to_owned() },
                    }
                }
            };
            match found {
                Definition::Module(module) => at = module,
                definition => return Followed { definition, segments: index + 1 },
            }
        }
        Followed { definition: Definition::Module(at), segments: segments.len() }
    }

    /// The definition of `name` in `module`, directly or through an import.
    fn look_up(&self, module: usize, name: &str, is_module: bool, visited: &mut VisitedModules) -> Option<Definition> {
        let key = (module, name.to_owned());
        if visited.contains(&key) {
            return None;
        }
        visited.push(key);
        let found = self.look_up_unvisited(module, name, is_module, visited);
        visited.pop();
        found
    }

    fn look_up_unvisited(
        &self,
        module: usize,
        name: &str,
        is_module: bool,
        visited: &mut VisitedModules,
    ) -> Option<Definition> {
        let SourceModule { text, children, .. } = self.module(module);
        let item = || text.items.contains(name).then(|| Definition::Item { module, name: name.to_owned() });
        let child = || children.get(name).map(|child| Definition::Module(*child));
        if let Some(found) = if is_module { child() } else { item() } {
            return Some(found);
        }
        let named = text.uses.iter().filter(|used| matches!(&used.brought, Brought::Named(brought) if brought == name));
        let named: Vec<Definition> = named
            .map(|used| self.follow_segments(module, &used.path.segments, is_module, visited).definition)
            .collect();
        let is_better = |found: &&Definition| matches!(found, Definition::Module(_)) == is_module;
        if let Some(found) = named.iter().find(is_better).or(named.first()) {
            return Some(found.clone());
        }
        if let Some(found) = child().or_else(item) {
            return Some(found);
        }
        let globs = text.uses.iter().filter(|used| used.brought == Brought::Glob);
        globs
            .filter_map(|used| match self.follow_segments(module, &used.path.segments, true, visited).definition {
                Definition::Module(from) => self.look_up(from, name, is_module, visited),
                _ => None,
            })
            .next()
    }
}

/// The file of a declared module, and the directories for its own modules.
fn find(
    file: &str,
    declaration: &DeclaredModule,
    directories: &Directories,
    sources: &Sources,
) -> Result<(String, Directories)> {
    let DeclaredModule { name, path, line } = declaration;
    if let Some(path) = path {
        let found = normalized(&format!("{}/{path}", directories.attribute));
        let directory = directory_of(&found);
        return Ok((found, Directories { children: directory.clone(), attribute: directory }));
    }
    let directory = format!("{}/{name}", directories.children);
    let (flat, folder) = (format!("{directory}.rs"), format!("{directory}/mod.rs"));
    if sources.contains_key(&flat) {
        let attribute = directory_of(&flat);
        return Ok((flat, Directories { children: directory, attribute }));
    }
    if sources.contains_key(&folder) {
        return Ok((folder, Directories { children: directory.clone(), attribute: directory }));
    }
    bail!("{file}:{line}: mod {name} has no file: neither {flat} nor {folder} exists");
}

/// The directory of a file.
pub(super) fn directory_of(file: &str) -> String {
    file.rsplit_once('/').map_or(String::new(), |(directory, _)| directory.to_owned())
}

/// The same path without `..` and `.`.
fn normalized(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

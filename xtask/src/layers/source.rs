//! Reads one source file: its modules, their definitions, and the paths that they name.

use std::collections::BTreeSet;

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::{
    Attribute, Expr, ExprLit, ForeignItem, Ident, ImplItem, Item, ItemMod, ItemUse, Lit, Macro, Meta, Path, UseTree,
    Visibility,
    visit::{self, Visit},
};

use super::for_tests::{is_impl_item_for_tests, is_item_for_tests};

/// A path as the code writes it, such as `super::table::Service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrittenPath {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// Whether it calls a macro.
    pub(super) is_macro: bool,
}

/// The name that a `use` brings into its module.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Brought {
    Named(String),
    /// All names of a module or an enum: `*`.
    Glob,
    /// A trait for its methods only: `as _`.
    Unnamed,
}

/// One name of a `use` tree.
#[derive(Debug)]
pub(super) struct UsedName {
    pub(super) brought: Brought,
    pub(super) path: WrittenPath,
    /// Whether the `use` is visible outside its module: a re-export.
    pub(super) is_handed_on: bool,
}

/// `mod name;`: a module in another file.
#[derive(Debug)]
pub(super) struct DeclaredModule {
    pub(super) name: String,
    /// The value of `#[path = "…"]`.
    pub(super) path: Option<String>,
    pub(super) line: usize,
}

/// The part of a module that one file has.
#[derive(Debug, Default)]
pub(super) struct ModuleText {
    /// Empty for the module that is the file.
    pub(super) name: String,
    /// Names of functions, types, traits, constants and macros.
    pub(super) items: BTreeSet<String>,
    /// The `macro_rules!` among the items.
    pub(super) macros: BTreeSet<String>,
    pub(super) uses: Vec<UsedName>,
    pub(super) paths: Vec<WrittenPath>,
    pub(super) declared: Vec<DeclaredModule>,
    pub(super) inline: Vec<ModuleText>,
}

/// Reads the text of a file, without code that only tests compile.
pub(super) fn read(text: &str) -> syn::Result<ModuleText> {
    let file = syn::parse_file(text)?;
    let mut reader = Reader::default();
    reader.read_items(&file.items);
    Ok(reader.module)
}

#[derive(Default)]
struct Reader {
    module: ModuleText,
}

impl Reader {
    fn read_items(&mut self, items: &[Item]) {
        for item in items.iter().filter(|item| !is_item_for_tests(item)) {
            self.define(item);
            self.visit_item(item);
        }
    }

    /// Notes the names that `item` gives to its module.
    fn define(&mut self, item: &Item) {
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => {
                self.module.macros.extend(item.ident.as_ref().map(Ident::to_string));
                self.module.items.extend(item.ident.as_ref().map(Ident::to_string));
                return;
            }
            Item::ForeignMod(block) => {
                let names = block.items.iter().filter_map(|item| match item {
                    ForeignItem::Fn(item) => Some(item.sig.ident.to_string()),
                    ForeignItem::Static(item) => Some(item.ident.to_string()),
                    ForeignItem::Type(item) => Some(item.ident.to_string()),
                    _ => None,
                });
                self.module.items.extend(names);
                return;
            }
            _ => return,
        };
        self.module.items.insert(name.to_string());
    }

    fn note(&mut self, segments: Vec<String>, line: usize, is_macro: bool) {
        self.module.paths.push(WrittenPath { segments, line, is_macro });
    }

    /// Notes every name of a `use` tree whose path so far is `before`.
    fn note_uses(&mut self, before: &[String], tree: &UseTree, is_handed_on: bool) {
        let (ident, name) = match tree {
            UseTree::Path(path) => return self.note_uses(&with(before, &path.ident), &path.tree, is_handed_on),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.note_uses(before, tree, is_handed_on));
                return;
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.span.start().line;
                let path = WrittenPath { segments: before.to_vec(), line, is_macro: false };
                self.module.uses.push(UsedName { brought: Brought::Glob, path, is_handed_on });
                return;
            }
            UseTree::Name(name) => (&name.ident, &name.ident),
            UseTree::Rename(rename) => (&rename.ident, &rename.rename),
        };
        // `a::b::{self}` is `a::b`.
        let segments = if ident == "self" { before.to_vec() } else { with(before, ident) };
        let name = if name == "self" { before.last().cloned().unwrap_or_default() } else { name.to_string() };
        let brought = if name == "_" { Brought::Unnamed } else { Brought::Named(name) };
        let path = WrittenPath { segments, line: ident.span().start().line, is_macro: false };
        self.module.uses.push(UsedName { brought, path, is_handed_on });
    }

    /// Notes paths among the tokens of a macro or an attribute: `a::b`, or the name of a type.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_separator = |at: usize| match (tokens.get(at), tokens.get(at + 1)) {
            (Some(TokenTree::Punct(first)), Some(TokenTree::Punct(second))) => {
                first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':'
            }
            _ => false,
        };
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(first) => {
                    let mut segments = vec![first.to_string()];
                    while is_separator(at) {
                        let Some(TokenTree::Ident(next)) = tokens.get(at + 2) else { break };
                        segments.push(next.to_string());
                        at += 3;
                    }
                    // Single names count only if they are types, because a field or variable may share its name with an
                    // import.
                    if segments.len() > 1 || first.to_string().starts_with(char::is_uppercase) {
                        self.note(segments, first.span().start().line, false);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_item_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !is_impl_item_for_tests(item) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = item.ident.to_string();
        match &item.content {
            Some((_, items)) => {
                let mut reader = Self { module: ModuleText { name, ..ModuleText::default() } };
                reader.read_items(items);
                self.module.inline.push(reader.module);
            }
            None => {
                let path = item.attrs.iter().find_map(|attribute| match &attribute.meta {
                    Meta::NameValue(meta) if meta.path.is_ident("path") => text(&meta.value),
                    _ => None,
                });
                let line = item.ident.span().start().line;
                self.module.declared.push(DeclaredModule { name, path, line });
            }
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        // `use ::name` is another crate.
        if item.leading_colon.is_none() {
            self.note_uses(&[], &item.tree, !matches!(item.vis, Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if let (None, Some(first)) = (path.leading_colon, path.segments.first()) {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.note(segments, first.ident.span().start().line, false);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if let (None, Some(first)) = (call.path.leading_colon, call.path.segments.first()) {
            let segments = call.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.note(segments, first.ident.span().start().line, true);
        }
        self.scan(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
        }
        visit::visit_attribute(self, attribute);
    }
}

fn with(before: &[String], ident: &Ident) -> Vec<String> {
    before.iter().cloned().chain([ident.to_string()]).collect()
}

fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

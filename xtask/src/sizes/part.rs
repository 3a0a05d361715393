//! The part of the module that a function belongs to.

/// The row of a function, by its demangled name.
///
/// - A function belongs to the first crate of its path, whatever its type parameters:
///   `drop_in_place<byname_core::Table>` belongs to the standard library.
/// - A method belongs to its type if the type is byname's, else to its trait if the trait is byname's, else to its
///   type. If the name has only a type parameter, as in legacy mangling (`<T as Trait>::method`), the method belongs to
///   its trait.
pub(super) fn part_of(name: &str) -> String {
    let path = home(name);
    let mut segments = path.split("::");
    let of_crate = segments.next().unwrap_or_default();
    match of_crate {
        "byname_core" => format!("core: {}", segments.next().unwrap_or_default()),
        "byname_filter" => "filter".to_owned(),
        "serde" | "serde_core" | "serde_json" => "serde_json, serde".to_owned(),
        "foldhash" | "hashbrown" => "hashbrown, foldhash".to_owned(),
        "dlmalloc" => "dlmalloc (the allocator)".to_owned(),
        "alloc" | "core" | "std" | "compiler_builtins" => STANDARD.to_owned(),
        "proxy_wasm" => SDK.to_owned(),
        symbol if symbol.starts_with("byname_on_") => "filter".to_owned(),
        // Names of C: the SDK's exports, and functions that the compiler calls.
        "malloc" | "_initialize" => SDK.to_owned(),
        symbol if symbol.starts_with("proxy_") => SDK.to_owned(),
        "bcmp" | "memcmp" | "memcpy" | "memmove" | "memset" => STANDARD.to_owned(),
        symbol if symbol.starts_with("__") => STANDARD.to_owned(),
        _ => "other".to_owned(),
    }
}

const SDK: &str = "proxy-wasm SDK";
const STANDARD: &str = "alloc, core, std";

/// The path that decides: of the function, or of its type or trait.
fn home(name: &str) -> &str {
    let Some(inner) = name.strip_prefix('<').and_then(|rest| rest.get(..end_of_brackets(rest)?)) else { return name };
    let (of_type, of_trait) = match top_level(inner, " as ") {
        Some(at) => (inner.get(..at), inner.get(at + " as ".len()..)),
        None => (Some(inner), None),
    };
    let of_type = of_type.unwrap_or_default().trim_start_matches(['&', '*', '[', '(']);
    let of_type = ["mut ", "const ", "dyn "].iter().fold(of_type, |path, word| path.trim_start_matches(word));
    let is_ours = |path: &&str| path.starts_with("byname_");
    let paths = [Some(of_type), of_trait];
    let mut paths = paths.into_iter().flatten();
    let ours = paths.clone().find(is_ours);
    ours.or_else(|| paths.clone().find(|path| path.contains("::"))).or_else(|| paths.next()).unwrap_or(name)
}

/// The end of the bracket that was opened before `text`.
fn end_of_brackets(text: &str) -> Option<usize> {
    top_level(text, ">")
}

/// The first position of `sought` outside brackets. The arrow of a function type is no bracket.
fn top_level(text: &str, sought: &str) -> Option<usize> {
    let mut depth = 0;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        if depth == 0 && before != '-' && text.get(at..)?.starts_with(sought) {
            return Some(at);
        }
        match character {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        before = character;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::part_of;

    #[test]
    fn functions_belong_to_the_crate_of_their_path() {
        for (name, part) in [
            ("byname_core::wire::table::Service::read", "core: wire"),
            ("byname_core::read::<impl byname_core::read::Read for alloc::string::String>::form", "core: read"),
            ("byname_filter::http::decide", "filter"),
            ("core::ptr::drop_in_place<byname_core::table::Table>", "alloc, core, std"),
            ("hashbrown::raw::RawTable<T,A>::reserve_rehash", "hashbrown, foldhash"),
            ("__rustc::__rust_alloc", "alloc, core, std"),
            ("memcpy", "alloc, core, std"),
            ("__multi3", "alloc, core, std"),
            ("log::__private_api::log_impl", "other"),
            ("proxy_on_configure", "proxy-wasm SDK"),
            ("byname_on_configure", "filter"),
            ("", "other"),
        ] {
            assert_eq!(part_of(name), part, "{name}");
        }
    }

    #[test]
    fn methods_belong_to_bynames_type_or_trait() {
        for (name, part) in [
            ("<byname_core::name::Name as core::fmt::Display>::fmt", "core: name"),
            ("<&mut byname_core::name::Name as core::fmt::Display>::fmt", "core: name"),
            ("<T as byname_core::read::Read>::form", "core: read"),
            ("<alloc::vec::Vec<T> as byname_core::read::Read>::form", "core: read"),
            ("<alloc::vec::Vec<u8> as serde::Serialize>::serialize", "alloc, core, std"),
            ("<core::option::Option<fn(u8) -> u8> as byname_core::read::Read>::form", "core: read"),
            ("<T as serde::Serialize>::serialize", "serde_json, serde"),
            ("<byname_core::table::Table>::put", "core: table"),
            ("<u8 as core::fmt::Debug>::fmt", "alloc, core, std"),
        ] {
            assert_eq!(part_of(name), part, "{name}");
        }
    }
}

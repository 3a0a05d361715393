//! Empties functions that the module contains but never needs.

use std::collections::HashSet;

use anyhow::{Result, bail};
use walrus::{
    ExportItem, FunctionBuilder, FunctionId, FunctionKind, LocalFunction, Module, ValType,
    ir::{self, Visitor},
};

use super::names::demangled;

/// A pattern for functions, by their demangled names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// The function with this path.
    Function(&'static str),
    /// A method of a trait, of every type but `except`.
    Method { of_trait: &'static str, name: &'static str, except: &'static str },
    /// The functions of a crate, and the methods of its types and traits, except implementations of foreign traits.
    Crate(&'static str),
}

/// Functions that are emptied.
struct Emptied {
    pattern: Pattern,
    reason: &'static str,
}

/// The SDK's functions. None is ever called: the callbacks that made contexts are gone with the SDK's exports. Tables
/// of virtual functions still refer to them. A call by the filter's own code fails the build.
const SDK: Emptied = Emptied {
    pattern: Pattern::Crate("proxy_wasm"),
    reason: "it would import host functions that the filter never calls",
};

/// Functions that only format the message of a panic. Without them, a panic is still the same crash. No other code
/// formats with `Debug`, because clippy's `use_debug` denies it.
const WORDS_OF_PANICS: [Emptied; 4] = [
    Emptied {
        pattern: Pattern::Function("core::str::slice_error_fail_rt"),
        reason: "it only words the panic of a string that is cut inside a character",
    },
    Emptied {
        // A reference to a trait object only calls the method of the object.
        pattern: Pattern::Method { of_trait: "core::fmt::Debug", name: "fmt", except: "&dyn core::fmt::Debug " },
        reason: "it only words panics",
    },
    Emptied {
        pattern: Pattern::Function("<core::fmt::builders::PadAdapter as core::fmt::Write>::write_str"),
        reason: "only `Debug` indents with it",
    },
    Emptied {
        pattern: Pattern::Function("<core::fmt::builders::PadAdapter as core::fmt::Write>::write_char"),
        reason: "only `Debug` indents with it",
    },
];

impl Pattern {
    fn matches(self, name: &str) -> bool {
        match self {
            Self::Function(path) => name == path,
            Self::Method { of_trait, name: method, except } => name.strip_suffix(method).is_some_and(|of| {
                if of.strip_prefix('<').is_some_and(|of| of.starts_with(except)) {
                    return false;
                }
                // v0, and legacy for most types: `<T as Trait>::method`. Legacy for some: `path::<impl Trait for T>::method`.
                of.ends_with(&format!(" as {of_trait}>::"))
                    || of.ends_with(">::") && of.contains(&format!("<impl {of_trait} for "))
            }),
            Self::Crate(name_of_crate) => {
                let is_within =
                    |path: &str| path.strip_prefix(name_of_crate).is_some_and(|rest| rest.starts_with("::"));
                match name.strip_prefix('<').and_then(|name| name.rsplit_once(">::")) {
                    // Legacy: `crate::Type::method`, `crate::Trait::method`.
                    None => is_within(name),
                    // v0: `<crate::Type>::method`, `<T as crate::Trait>::method`.
                    Some((of, _)) => is_within(of.rsplit_once(" as ").map_or(of, |(_, of_trait)| of_trait)),
                }
            }
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Function(path) => path.to_owned(),
            Self::Method { of_trait, name, .. } => format!("<_ as {of_trait}>::{name}"),
            Self::Crate(name) => format!("{name}::*"),
        }
    }
}

impl Emptied {
    /// All of `functions` that the pattern matches, at least one.
    fn choose(&self, functions: &[(FunctionId, String)]) -> Result<HashSet<FunctionId>> {
        let matching = functions.iter().filter(|(_, name)| self.pattern.matches(name));
        let chosen: HashSet<FunctionId> = matching.map(|(id, _)| *id).collect();
        if chosen.is_empty() {
            bail!(
                "xtask/src/module/emptied.rs: no function of the module matches {}, which is emptied because {}; \
                 a new compiler or dependency may have changed its name: correct the pattern, or remove it if the function is gone",
                self.pattern.describe(),
                self.reason
            );
        }
        Ok(chosen)
    }
}

/// Empties [`SDK`] and [`WORDS_OF_PANICS`].
pub(super) fn empty(module: &mut Module) -> Result<()> {
    let exported: HashSet<FunctionId> = module
        .exports
        .iter()
        .filter_map(|export| match export.item {
            ExportItem::Function(id) => Some(id),
            _ => None,
        })
        .collect();
    let functions: Vec<(FunctionId, String)> = module
        .funcs
        .iter_local()
        .map(|(id, _)| (id, demangled(module.funcs.get(id).name.as_deref().unwrap_or_default())))
        .collect();
    let mut emptied = SDK.choose(&functions)?;
    emptied.retain(|id| !exported.contains(id));
    for (id, function) in module.funcs.iter_local().filter(|(id, _)| !emptied.contains(id)) {
        if let Some(called) = called_by(function).intersection(&emptied).next() {
            let name = |id| module.funcs.get(id).name.as_deref().map_or("a function without a name".into(), demangled);
            bail!(
                "{} calls {}, which xtask/src/module/emptied.rs empties: call the host by src/host.rs",
                name(id),
                name(*called)
            );
        }
    }
    for words in &WORDS_OF_PANICS {
        emptied.extend(words.choose(&functions)?);
    }
    // In the module's order, so that the result is reproducible.
    for (id, _) in functions.into_iter().filter(|(id, _)| emptied.contains(id)) {
        let signature = module.types.get(module.funcs.get(id).ty());
        let (parameters, results) = (signature.params().to_vec(), signature.results().to_vec());
        let mut empty = FunctionBuilder::new(&mut module.types, &parameters, &results);
        match *results {
            // A formatting function that has written nothing returns success (`fmt::Result`).
            [ValType::I32] => drop(empty.func_body().i32_const(0)),
            _ => drop(empty.func_body().unreachable()),
        }
        let arguments = parameters.iter().map(|parameter| module.locals.add(*parameter)).collect();
        module.funcs.get_mut(id).kind = FunctionKind::Local(empty.local_func(arguments));
    }
    Ok(())
}

/// The functions that `function` calls by name.
fn called_by(function: &LocalFunction) -> HashSet<FunctionId> {
    #[derive(Default)]
    struct Calls(HashSet<FunctionId>);
    impl Visitor<'_> for Calls {
        fn visit_call(&mut self, call: &ir::Call) {
            self.0.insert(call.func);
        }
    }
    let mut calls = Calls::default();
    ir::dfs_in_order(&mut calls, function, function.entry_block());
    calls.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The descriptions of the patterns that match a mangled name.
    fn matching(mangled: &str) -> Vec<String> {
        let all = WORDS_OF_PANICS.iter().chain([&SDK]).map(|emptied| emptied.pattern);
        all.filter(|pattern| pattern.matches(&demangled(mangled))).map(Pattern::describe).collect()
    }

    #[test]
    fn patterns_match_both_manglings() {
        for (mangled, pattern) in [
            ("_ZN4core3str19slice_error_fail_rt17h0427693e9d826719E", "core::str::slice_error_fail_rt"),
            ("_RNvNtCsgXGp5Oqx2Ny_4core3str19slice_error_fail_rt", "core::str::slice_error_fail_rt"),
            ("_ZN42_$LT$$RF$T$u20$as$u20$core..fmt..Debug$GT$3fmt17hd4a56e0898dd1ca3E", "<_ as core::fmt::Debug>::fmt"),
            (
                "_ZN62_$LT$proxy_wasm..types..Status$u20$as$u20$core..fmt..Debug$GT$3fmt17hdaf229ae346efbd6E",
                "<_ as core::fmt::Debug>::fmt",
            ),
            (
                "_ZN4core3fmt3num50_$LT$impl$u20$core..fmt..Debug$u20$for$u20$u32$GT$3fmt17h0427693e9d826719E",
                "<_ as core::fmt::Debug>::fmt",
            ),
            ("_RNvXsZ_NtNtCsgXGp5Oqx2Ny_4core3fmt3numjNtB7_5Debug3fmt.283", "<_ as core::fmt::Debug>::fmt"),
            (
                "_RNvXs_NtNtCsgXGp5Oqx2Ny_4core3ops5rangeINtB4_5RangejENtNtB8_3fmt5Debug3fmtB8_",
                "<_ as core::fmt::Debug>::fmt",
            ),
            ("_ZN10proxy_wasm9hostcalls10get_buffer17hf357132b82482baeE", "proxy_wasm::*"),
            ("_ZN10proxy_wasm6traits7Context12get_property17heeeef92fb8517bc8E", "proxy_wasm::*"),
            ("_RNvNtCsgXGp5Oqx2Ny_10proxy_wasm9hostcalls10get_buffer", "proxy_wasm::*"),
            (
                "_RNvYNtCs5cOc02OMXlo_6filter4RootNtNtCsgXGp5Oqx2Ny_10proxy_wasm6traits7Context12get_property",
                "proxy_wasm::*",
            ),
            ("_RNvMNtCsgXGp5Oqx2Ny_10proxy_wasm10dispatcherNtB2_10Dispatcher7on_done", "proxy_wasm::*"),
            (
                "_RNvXs0_NtNtCsgXGp5Oqx2Ny_4core3fmt8buildersNtB5_10PadAdapterNtB7_5Write9write_str",
                "<core::fmt::builders::PadAdapter as core::fmt::Write>::write_str",
            ),
        ] {
            assert_eq!(matching(mangled), [pattern], "{}", demangled(mangled));
        }
    }

    #[test]
    fn patterns_leave_all_other_functions_alone() {
        for mangled in [
            "_RNvMs1_NtNtCsgXGp5Oqx2Ny_4core3fmt8buildersNtB5_11DebugStruct5field",
            "_RNvXs1g_NtCsgXGp5Oqx2Ny_4core3fmtRDNtB6_5DebugEL_Bx_3fmtB8_",
            "_ZN4core3str19slice_error_fail17h0427693e9d826719E",
            "_ZN44_$LT$$RF$T$u20$as$u20$core..fmt..Display$GT$3fmt17hd4a56e0898dd1ca3E",
            "_ZN4core3ptr85drop_in_place$LT$alloc..boxed..Box$LT$dyn$u20$proxy_wasm..traits..HttpContext$GT$$GT$17h6141c645ef991832E",
            "proxy_on_configure",
            "malloc",
        ] {
            assert_eq!(matching(mangled), [""; 0], "{}", demangled(mangled));
        }
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error() {
        let gone = Emptied { pattern: Pattern::Function("core::gone"), reason: "it only words a panic" };
        let error = gone.choose(&[]).expect_err("nothing matches").to_string();
        assert!(error.contains("no function of the module matches core::gone, which is emptied because"), "{error}");
        assert!(error.contains("it only words a panic") && error.contains("correct the pattern"), "{error}");
    }
}

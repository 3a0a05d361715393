//! Demangles the names of functions.

/// The path of a function without hashes, whether the mangling is Rust's legacy or its v0: `<T as core::fmt::Debug>::fmt`. A
/// name that is not mangled stays as it is.
pub(crate) fn demangled(mangled: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(mangled));
    // LLVM numbers functions that would share a name: `fmt.16`.
    match name.rsplit_once('.') {
        Some((path, number)) if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) => {
            path.to_owned()
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::demangled;

    #[test]
    fn both_manglings_give_a_path_without_hashes() {
        for (mangled, path) in [
            ("_ZN10proxy_wasm9hostcalls10get_buffer17hf357132b82482baeE", "proxy_wasm::hostcalls::get_buffer"),
            ("_RNvNtCsgXGp5Oqx2Ny_4core3str19slice_error_fail_rt", "core::str::slice_error_fail_rt"),
            (
                "_ZN65_$LT$alloc..vec..Vec$LT$T$C$A$GT$$u20$as$u20$core..fmt..Debug$GT$3fmt17h0427693e9d826719E",
                "<alloc::vec::Vec<T,A> as core::fmt::Debug>::fmt",
            ),
            (
                "_RNvXsK_NtCsgXGp5Oqx2Ny_4core3fmtNtB5_5ErrorNtB5_5Debug3fmt.237",
                "<core::fmt::Error as core::fmt::Debug>::fmt",
            ),
            ("malloc", "malloc"),
        ] {
            assert_eq!(demangled(mangled), path);
        }
    }
}

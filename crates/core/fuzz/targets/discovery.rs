//! See `src/discovery.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| byname_core_fuzz::discovery(bytes));

//! See `fuzz/src/row.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nodedb_fuzz::row::run(data));

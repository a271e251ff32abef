//! See `fuzz/src/key.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nodedb_fuzz::key::run(data));

//! See `fuzz/src/log.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nodedb_fuzz::log::run(data));

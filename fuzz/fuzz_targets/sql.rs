//! See `fuzz/src/sql.rs`.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| nodedb_fuzz::sql::run(data));

// Words and whole statements of the seeds are put in or taken out; now and then libFuzzer does as it likes.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match nodedb_fuzz::sql::mutate(&data[..size], u64::from(seed)) {
        Some(text) => {
            let mut end = text.len().min(max_size);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            data[..end].copy_from_slice(&text.as_bytes()[..end]);
            end
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});

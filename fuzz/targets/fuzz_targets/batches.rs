//! Any bytes as record batches, compressed ones too: `cargo +nightly fuzz run --fuzz-dir fuzz/targets batches fuzz/corpus/batches`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| { tidings_fuzz::batches(input); });

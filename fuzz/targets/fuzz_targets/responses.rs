//! Any bytes as responses as our own client reads them: `cargo +nightly fuzz run --fuzz-dir fuzz/targets responses fuzz/corpus/responses`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| { tidings_fuzz::response(input); });

//! Any bytes as records of `__consumer_offsets`: `cargo +nightly fuzz run --fuzz-dir fuzz/targets group_records fuzz/corpus/group_records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| { tidings_fuzz::group_record(input); });

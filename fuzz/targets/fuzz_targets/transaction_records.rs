//! Any bytes as records of `__transaction_state`: `cargo +nightly fuzz run --fuzz-dir fuzz/targets transaction_records fuzz/corpus/transaction_records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| { tidings_fuzz::transaction_record(input); });

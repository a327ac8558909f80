//! A failure text and its verdict.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aftersend_fuzz::classify(data));

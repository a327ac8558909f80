//! Values and headers of records, read back.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aftersend_fuzz::records(data));

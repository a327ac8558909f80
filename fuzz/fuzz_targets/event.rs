//! A body, all the way to message, row and record key.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aftersend_fuzz::event(data));

//! The bytes of a request, as far as the door reads them without Kafka.

#![no_main]

#[path = "../src/door.rs"]
mod door;

libfuzzer_sys::fuzz_target!(|data: &[u8]| door::door(data));

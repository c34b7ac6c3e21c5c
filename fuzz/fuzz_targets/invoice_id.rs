//! `cargo fuzz run invoice_id`

#![no_main]

#[path = "../properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::invoice_id(data));

//! An index, from a vault that anybody may have written to.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| vault::fuzz::index(bytes));

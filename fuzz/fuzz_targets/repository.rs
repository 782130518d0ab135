//! A whole vault, harmed as the bytes say: files dropped, cut, grown, swapped, doubled; trees and indexes sealed with its own key. What is said to have come
//! back whole is what was written.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = std::env::temp_dir().join(format!("releve-fuzz-{}", std::process::id()));
    let _ = std::fs::create_dir_all(&folder);
    // Few harms: a vault in pieces is soon looked through.
    vault::hostile::use_harmed(bytes.get(..32).unwrap_or(bytes), &folder);
    let _ = std::fs::remove_dir_all(&folder);
});

//! Whatever text is given, the plan's reader answers with a plan or with diagnostics that point into that text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plan::SourceFile;

fuzz_target!(|text: &str| {
    // A folder of two files, cut at the first form feed.
    let files: Vec<_> = text
        .splitn(2, '\u{c}')
        .enumerate()
        .map(|(number, text)| SourceFile { name: format!("{number}.toml"), text: text.into() })
        .collect();
    let parsed = plan::parse(&files);
    assert_eq!(parsed.plan.is_none(), parsed.has_errors());
    for found in &parsed.diagnostics {
        assert!(found.file.inner().get(found.span.clone()).is_some(), "{found:?}");
        assert_ne!(found.code, "shape", "the reader let something through that serde refuses: {found}");
    }
});

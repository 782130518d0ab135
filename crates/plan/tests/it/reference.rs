//! The schema, the reader, the model and the reference say the same.

use crate::base::{codes, read, shown};
use plan::schema;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A key that no table has, and that is like none.
const NONSENSE: &str = "qqqqqqqq";

/// Each table of the schema by its path, with the keys that it may have. `NAME` stands for a name chosen by the writer.
fn tables(schema: &Value, path: &str, found: &mut Vec<(String, BTreeSet<String>)>) {
    if let Some(properties) = schema["properties"].as_object() {
        found.push((path.to_owned(), properties.keys().cloned().collect()));
        for (key, value) in properties {
            tables(value, &join(path, key), found);
        }
    }
    if schema["additionalProperties"].is_object() {
        tables(&schema["additionalProperties"], &join(path, "NAME"), found);
    }
    if schema["items"].is_object() {
        tables(&schema["items"], &format!("{path}[]"), found);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A plan whose only line puts a nonsense key into a table.
fn with_nonsense(path: &str) -> String {
    let mut line = String::new();
    let mut close = String::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, list) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        let (open, end) = if list { (" = [{ ", " }]") } else { (" = { ", " }") };
        write!(line, "{name}{open}").unwrap();
        close.insert_str(0, end);
    }
    format!("{line}{NONSENSE} = 1{close}")
}

/// A value that the schema allows, as TOML, with every key written wherever several may be.
fn everything(schema: &Value, path: &str) -> String {
    if let Some(properties) = schema["properties"].as_object() {
        let most = schema["maxProperties"].as_u64().map_or(usize::MAX, |most| usize::try_from(most).unwrap());
        let written = properties.iter().take(most);
        let lines: Vec<_> =
            written.map(|(key, value)| format!("{key} = {}", everything(value, &join(path, key)))).collect();
        return format!("{{ {} }}", lines.join(", "));
    }
    if schema["additionalProperties"].is_object() {
        return format!("{{ NAME = {} }}", everything(&schema["additionalProperties"], &join(path, "NAME")));
    }
    if schema["items"].is_object() {
        return format!("[{}]", everything(&schema["items"], path));
    }
    match (schema["type"].as_str(), schema["enum"][0].as_str(), schema["examples"][0].as_str()) {
        (_, Some(word), _) => format!("\"{word}\""),
        (_, _, Some(example)) => format!("\"{example}\""),
        (Some("integer"), ..) => "1".into(),
        (Some("boolean"), ..) => "true".into(),
        _ if path.ends_with("restore_point") => "\"latest\"".into(),
        _ => "\"NAME\"".into(),
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "asked for by a person who refreshes the file; a library wouldn't"
)]
fn the_published_schema_is_the_readers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/plan.schema.json");
    let current = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        published == current,
        "docs/plan.schema.json is out of date. Refresh it: UPDATE=1 cargo test -p plan --test it schema"
    );
}

#[test]
fn the_reader_knows_exactly_the_keys_of_the_schema() {
    let mut found = Vec::new();
    tables(&schema(), "", &mut found);
    assert!(found.len() > 25, "{}", found.len());
    for (path, keys) in found {
        let parsed = read(&with_nonsense(&path));
        let unknown: Vec<_> = parsed.diagnostics.iter().filter(|found| found.code == "unknown-key").collect();
        assert_eq!(unknown.len(), 1, "{path}: {}", shown(&parsed));
        let help = unknown[0].help.as_deref().unwrap();
        let known: BTreeSet<String> = help.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(known, keys, "{path}: {help}");
    }
}

#[test]
fn the_reader_takes_whatever_type_the_schema_allows_and_the_model_keeps_every_key() {
    let schema = schema();
    let text: String = schema["properties"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| format!("{key} = {}\n", everything(value, key)))
        .collect();
    let parsed = read(&text);
    // What it means is nonsense; its form isn't.
    for code in [
        "syntax",
        "shape",
        "unknown-key",
        "unknown-word",
        "missing-key",
        "wrong-type",
        "bad-amount",
        "one-of",
    ] {
        let complaints = parsed.diagnostics.iter().filter(|found| found.code == code);
        // A check, a step, an action and what sends short messages say one thing each, and here they say everything.
        let complaints = complaints.filter(|found| {
            code != "one-of"
                || !(found.message.contains("a check")
                    || found.message.contains("a step")
                    || found.message.contains("`service`")
                    || found.message.contains("`notify.sms`"))
        });
        assert_eq!(complaints.count(), 0, "{text}\n{}", shown(&parsed));
    }
    let table: toml::Table = toml::from_str(&text).unwrap();
    let plan: plan::Plan = toml::from_str(&text).unwrap();
    let kept = serde_json::to_value(&plan).unwrap();
    assert_all_kept(&serde_json::to_value(&table).unwrap(), &kept, "");
}

/// Checks that whatever was written is there.
fn assert_all_kept(written: &Value, kept: &Value, path: &str) {
    match written {
        Value::Object(keys) => {
            for (key, value) in keys {
                assert!(!kept[key].is_null(), "{path}.{key} is read and then forgotten");
                assert_all_kept(value, &kept[key], &join(path, key));
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                assert_all_kept(item, &kept[at], &format!("{path}[{at}]"));
            }
        }
        _ => assert_eq!(written, kept, "{path}"),
    }
}

const REFERENCE: &str = include_str!("../../../../docs/plan.md");

#[test]
fn the_first_example_of_the_reference_is_a_plan_and_the_others_fit_into_it() {
    let mut blocks = REFERENCE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let whole = blocks.next().unwrap();
    let parsed = read(whole);
    assert_eq!(shown(&parsed), "");
    let mut others = 0;
    for block in blocks {
        let parsed = read(&format!("{whole}\n{block}"));
        assert_eq!(codes(&parsed), Vec::<&str>::new(), "{block}\n{}", shown(&parsed));
        others += 1;
    }
    assert!(others > 0);
}

#[test]
fn every_key_is_in_the_reference() {
    let mut found = Vec::new();
    tables(&schema(), "", &mut found);
    for (path, keys) in found {
        for key in keys {
            let named = [format!("`{key}`"), format!(".{key}`"), format!("[{key}"), format!("{{ {key} =")];
            assert!(
                named.iter().any(|name| REFERENCE.contains(name)),
                "docs/plan.md doesn't explain {path}.{key}"
            );
        }
    }
}

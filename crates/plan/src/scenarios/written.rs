//! A scenario as a plan writes it.

use crate::{Scenario, ScenarioName, Wanted};
use serde_json::Value;
use std::fmt::Write;

/// Returns a scenario as the text of a plan: reading it gives the scenario again. `title` goes above it, where there is one.
#[must_use]
pub fn written(name: &ScenarioName, title: &str, scenario: &Scenario) -> String {
    let mut out = String::new();
    if !title.is_empty() {
        let _ = writeln!(out, "# {name}: {title}.");
    }
    let is_bare = name.0.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let key = if is_bare { name.0.clone() } else { text(&name.0) };
    let _ = writeln!(out, "[scenarios.{key}]\ncause = {}", text(&scenario.cause));
    let remark = match scenario.restore_point {
        Wanted::BeforeNamed => "     # the instant is named on the day: --before TIME",
        _ => "",
    };
    let _ = writeln!(out, "restore_point = {}{remark}", text(&scenario.restore_point.to_string()));
    if !scenario.isolate.is_empty() {
        let hosts: Vec<_> = scenario.isolate.iter().map(|host| text(&host.0)).collect();
        let _ = writeln!(out, "isolate = [{}]", hosts.join(", "));
    }
    if scenario.approvals > 0 {
        let _ = writeln!(out, "approvals = {}", scenario.approvals);
    }
    for (key, steps) in [("before", &scenario.before), ("after", &scenario.after)] {
        if steps.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{key} = [");
        for step in steps {
            let step = serde_json::to_value(step).ok().and_then(|step| inline(&step));
            let _ = writeln!(out, "    {},", step.unwrap_or_else(|| "{}".into()));
        }
        out.push_str("]\n");
    }
    out
}

/// Returns a value as it stands within a line; nothing for what a plan leaves out.
fn inline(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::String(words) => Some(text(words)),
        Value::Array(all) if all.is_empty() => None,
        Value::Array(all) => {
            let all: Vec<_> = all.iter().map(|one| inline(one).unwrap_or_else(|| text(""))).collect();
            Some(format!("[{}]", all.join(", ")))
        }
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .filter_map(|(key, value)| Some(format!("{key} = {}", inline(value)?)))
                .collect();
            (!fields.is_empty()).then(|| format!("{{ {} }}", fields.join(", ")))
        }
        Value::Bool(true) | Value::Number(_) => Some(value.to_string()),
    }
}

/// Returns a text in quotes. What JSON escapes TOML reads, and it minds one character more.
fn text(words: &str) -> String {
    Value::from(words).to_string().replace('\u{7f}', "\\u007F")
}

//! How recoveries that have not brought back all that they were to are shown, by every verb that says how things stand.

use crate::show::dates;
use engine::unfinished::Unfinished;
use serde_json::{Value, json};

/// Returns one for scripts.
pub(super) fn document(one: &Unfinished) -> Value {
    let not_back: Vec<&String> = one.not_back.keys().collect();
    json!({ "since": one.since, "systems": one.systems, "not_back": not_back, "state": one.how.word(), "said": one.said(),
        "todo": one.way_out() })
}

/// Returns what is said of one: how it stands, and what to type.
pub(super) fn lines(one: &Unfinished) -> [String; 2] {
    let head = if one.is_tried() { "UNDER WAY" } else { "NOT BACK" };
    [format!("{head}: {}", dates(&one.said())), format!("  to do: {}", one.way_out())]
}

//! A plan without fault, ways to change it, and how its diagnostics look.

use miette::{GraphicalReportHandler, GraphicalTheme};
use plan::{Parsed, SourceFile, parse};

/// A plan of one system that gives no diagnostic at all.
pub(crate) const SOUND: &str = r#"[organisation]
name = "Atelier Dupont"

[people.claire]
name = "Claire Dupont"
contact = ["mailto:claire@atelier.example", "tel:+33600000001"]

[people.hugo]
name = "Hugo Petit"

[sites.workshop]
[sites.cloud]

[hosts.shop-1]
site = "workshop"

[vaults.local]
url = "file:///srv/releve"
site = "workshop"
password = { file = "/etc/releve/local.key" }

[vaults.cloud]
url = "s3://atelier-releve?endpoint=https://s3.example&region=fr-par"
site = "cloud"
password = { file = "/etc/releve/cloud.key" }

[systems.shop]
host = "shop-1"
criticality = "vital"
rto = "1 hour"
rpo = "1 hour"
owner = "hugo"
deputy = "claire"
source.files = { paths = ["/srv/shop"], exclude = ["cache/"] }
check = [{ http = "http://127.0.0.1/health" }]

[policy]
vaults = ["local", "cloud"]
every = "1 hour"

[scenarios.ransomware]
cause = "cyberattack"
restore_point = "last clean"
"#;

/// Reads a plan of one file.
pub(crate) fn read(text: &str) -> Parsed {
    parse(&[SourceFile { name: "plan.toml".into(), text: text.into() }])
}

/// The sound plan with one line put for another.
pub(crate) fn changed(from: &str, to: &str) -> String {
    assert!(SOUND.contains(from), "the sound plan has no {from:?}");
    SOUND.replacen(from, to, 1)
}

/// What a person sees of everything that is wrong.
pub(crate) fn shown(parsed: &Parsed) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut shown = String::new();
    for diagnostic in &parsed.diagnostics {
        handler.render_report(&mut shown, diagnostic).unwrap();
    }
    shown.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The codes of everything that is wrong, in order.
pub(crate) fn codes(parsed: &Parsed) -> Vec<&'static str> {
    parsed.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

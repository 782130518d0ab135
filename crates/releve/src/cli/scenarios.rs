//! `releve scenarios`.

use crate::session::Session;
use crate::show;
use crate::{Exit, Outcome};
use plan::scenarios::{Known, Origin, all, asks_for_a_time, written};
use serde_json::{Value, json};

/// What `scenarios` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve scenarios                              all of them, and where each comes from\n  \
    releve scenarios show ransomware              what it says, as the plan writes it\n  \
    releve scenarios show supplier-failure >> plan.toml\n\n\
    Those that are built in are used as they are: releve recover --scenario ransomware. What the plan writes under the same name replaces them. Templates are used once \
    the plan has them; look for DECIDE."
)]
pub(super) struct Options {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print one as the plan writes it, with the people and hosts of this plan
    #[command(
        after_help = "Examples:\n  releve scenarios show ransomware\n  releve scenarios show supplier-failure >> plan.toml"
    )]
    Show {
        /// Its name
        name: String,
    },
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let known = all(&session.plan);
    match &options.what {
        None => list(session, &known),
        Some(What::Show { name }) => {
            let Some(one) = known.iter().find(|one| one.name.0 == *name) else {
                return Err(show::unknown("scenario", name, known.iter().map(|one| one.name.0.as_str())));
            };
            let text = written(&one.name, one.title, &one.scenario);
            if session.json {
                let mut document = document(one);
                if let Some(fields) = document.as_object_mut() {
                    fields.insert("text".into(), text.into());
                }
                show::print_json(&document);
            } else {
                page!("{text}");
            }
        }
    }
    Ok(Exit::Done)
}

/// Returns whether a template of this name ships that the plan hasn't taken in.
pub(super) fn is_template(session: &Session, name: &str) -> bool {
    all(&session.plan).iter().any(|one| one.origin == Origin::Template && one.name.0 == name)
}

fn list(session: &Session, known: &[Known]) {
    if session.json {
        let all: Vec<Value> = known.iter().map(document).collect();
        show::print_json(&json!({ "scenarios": all }));
        return;
    }
    let mut table = show::table(&["scenario", "from", "cause", "restore point", "steps"]);
    for one in known {
        let from = match one.origin {
            Origin::Plan => "the plan",
            Origin::BuiltIn => "built in",
            Origin::Template => "template",
        };
        let point = match asks_for_a_time(&one.scenario) {
            true => "before TIME (--before)".to_owned(),
            false => one.scenario.restore_point.to_string(),
        };
        table.add_row([
            one.name.0.clone(),
            from.into(),
            one.scenario.cause.clone(),
            point,
            steps(one).to_string(),
        ]);
    }
    page!("{table}");
    println!();
    println!(
        "releve scenarios show NAME prints one, for the plan; templates are used once the plan has them"
    );
}

fn document(one: &Known) -> Value {
    json!({ "name": one.name, "from": one.origin, "title": one.title, "cause": one.scenario.cause,
        "restore_point": one.scenario.restore_point, "needs_time": asks_for_a_time(&one.scenario), "steps": steps(one) })
}

/// Returns how many steps it has of its own.
fn steps(one: &Known) -> usize {
    one.scenario.isolate.len() + one.scenario.before.len() + one.scenario.after.len()
}

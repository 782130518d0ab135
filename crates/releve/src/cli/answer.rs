//! `releve answer`.

use super::recover::open::under_way;
use crate::session::Session;
use crate::show;
use crate::{Exit, Outcome};
use engine::Error;
use engine::recover::{Word, look, say};
use plan::{PersonName, StepKind};
use serde_json::json;

/// What `answer` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve answer 3                        what step 3 asks for is done\n  releve answer 3 yes --by claire        her decision\n  \
    releve answer 5 approve --by hugo      what is overwritten may be\n\n\
    The number stands in the message, and in releve recover --show. Whoever gave the first answer has decided; what must be approved takes one of each person.\n\
    Exit status: 0 said to the recovery; 2 there is none, or that step asks nothing; 64 that is no answer to it."
)]
pub(super) struct Options {
    /// The number of the step that asks
    step: usize,
    /// What is answered: one of the answers that the step names; that it is done, where it names none
    answer: Option<String>,
    /// Who answers
    #[arg(long, value_name = "PERSON")]
    by: Option<String>,
    /// A system of the recovery, where several are under way
    #[arg(long, value_name = "SYSTEM")]
    of: Vec<String>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let state = session.state()?;
    let systems = session.systems(&options.of)?;
    let Some(run) = under_way(session, &state, &systems)? else {
        return Err(Error::new("no recovery is being carried out")
            .help("releve recover goes on with one that was left; releve recover --show shows it")
            .into());
    };
    let left = look(&state, &run)?;
    let asks_nothing = || {
        Error::new(format!("step {} asks nobody anything", options.step))
            .help("releve recover --show names the steps")
    };
    let step = left.book.steps.get(options.step).ok_or_else(asks_nothing)?;
    let people = &session.plan.people;
    let by = options.by.as_deref().map(PersonName::from);
    let wrong = |message: String, help: String| {
        show::error(&Error::new(message).help(help));
        Ok(Exit::Usage)
    };
    if let Some(by) = by.as_ref().filter(|by| !people.contains_key(*by)) {
        return Err(show::unknown("person", &by.0, people.keys().map(|name| name.0.as_str())));
    }
    let answers: Vec<String> = match &step.kind {
        StepKind::Ask { answers, .. } => answers.clone(),
        StepKind::Approve(_) => vec!["approve".into(), "refuse".into()],
        StepKind::Isolate(_) | StepKind::Release(_) => Vec::new(),
        _ => return Err(asks_nothing().into()),
    };
    if matches!(step.kind, StepKind::Approve(_)) && by.is_none() {
        return wrong("who approves?".into(), "say --by PERSON, as the plan names you".into());
    }
    let answer = match (&options.answer, answers.is_empty()) {
        (None, true) => String::new(),
        (Some(answer), true) if answer == "done" => String::new(),
        (Some(answer), false) if answers.contains(answer) => answer.clone(),
        (_, true) => {
            return wrong("that is done or not".into(), "leave the answer out once it is done".into());
        }
        (_, false) => {
            return wrong("that is no answer to it".into(), format!("one of: {}", answers.join(", ")));
        }
    };
    // Whoever doesn't say who he is is whoever is logged in: the report names who decided.
    let by = match by {
        Some(by) => Some(by),
        None => Some(PersonName(super::incident::by(session, None)?)),
    };
    say(&state, &run, &Word::Answer { step: options.step, by: by.clone(), answer: answer.clone() })?;
    if session.json {
        show::print_json(&json!({ "step": options.step, "answer": answer, "by": by }));
    } else {
        println!("said: {}: {}", step.kind, if answer.is_empty() { "done" } else { &answer });
    }
    Ok(Exit::Done)
}

//! `releve demo`: a small company in a temporary folder is crashed in five ways, for real, and brought back each time by this very
//! program, run as a user runs it. Whatever differs afterwards ends the demo with an error.
//!
//! [`company`] is what is crashed, [`mod@shop`] its living part, [`orders`] its database, [`cloud`] the vault elsewhere, [`crashes`] what happens.

#![allow(clippy::disallowed_types, reason = "it types what a user types, and starts a company's own servers")]

mod cloud;
mod company;
mod crashes;
mod hands;
mod orders;
mod shop;

use crate::cli::{Global, raised_by};
use crate::show::{self, size};
use crate::{Exit, Outcome};
use company::Company;
use crashes::{CRASHES, Row};
use hands::Hands;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

/// What `demo` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve demo\n  releve demo --data ~/Documents   with a copy of your own files as the company's file share\n\n\
    Everything happens in a temporary folder and on the loopback; nothing else is touched, and nothing stays.\n\
    Exit status 2: something did not come back as it was; it is named."
)]
pub(crate) struct Options {
    /// Keep the temporary folder, to look at the plan and the vaults
    #[arg(long)]
    keep: bool,
    /// The company's file share is a copy of this folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What `demo-shop` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ShopOptions {
    #[command(subcommand)]
    verb: ShopVerb,
}

#[derive(Debug, clap::Subcommand)]
enum ShopVerb {
    /// Start the shop beside and return
    Start(shop::Serving),
    /// Be the shop
    Serve(shop::Serving),
    /// Stop the shop
    Stop {
        #[arg(long)]
        pid_file: PathBuf,
    },
}

/// Why the demo failed, for a person.
#[derive(Debug)]
struct Failed(String);

impl From<Failed> for crate::Failure {
    fn from(Failed(why): Failed) -> Self {
        Self::Error(engine::Error::new(format!("the demo failed: {why}")))
    }
}

/// Returns what turns the machine's error into ours, with what was being done.
fn io(doing: &str) -> impl FnOnce(std::io::Error) -> Failed {
    let doing = doing.to_owned();
    move |error| Failed(format!("{doing}: {error}"))
}

/// Is the company's web shop.
pub(crate) fn shop(options: &ShopOptions) -> Outcome {
    let result = match &options.verb {
        ShopVerb::Start(serving) => shop::start(serving),
        ShopVerb::Serve(serving) => shop::serve(serving),
        ShopVerb::Stop { pid_file } => {
            shop::stop(pid_file);
            Ok(())
        }
    };
    result.map_err(|error| engine::Error::new(format!("the shop: {error}")))?;
    Ok(Exit::Done)
}

/// Runs the demo.
pub(crate) fn run(global: &Global, options: &Options) -> Outcome {
    let begun = Instant::now();
    process::child::as_whoever_started_us();
    // Noticed between two steps, so that the folder and the shop go before the program does.
    let stop = raised_by(&[signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    let folder =
        tempfile::Builder::new().prefix("releve-demo-").tempdir().map_err(io("make a temporary folder"))?;
    // The database's server is another user, and has its own folders in there.
    let searchable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(folder.path(), searchable).map_err(io("make a temporary folder"))?;
    let kept = options.keep.then(|| folder.path().to_owned());
    let say = |text: &str| {
        if !global.json {
            page!("{text}\n");
        }
    };
    let rows = story(folder.path(), options, &say, &stop);
    if let Some(kept) = &kept {
        say(&format!("\nkept: {}", kept.display()));
        // Kept on failure too: that is when it is looked at.
        let _ = folder.keep();
    }
    let rows = rows?;
    if global.json {
        show::print_json(
            &serde_json::json!({ "crashes": rows, "seconds": begun.elapsed().as_secs_f64(), "kept": kept }),
        );
    } else {
        print(&rows);
        println!();
        println!(
            "Five crashes, five recoveries, every file as it was: {:.0} s in all.",
            begun.elapsed().as_secs_f64()
        );
        println!("Your own server next: releve init --dir .");
    }
    Ok(Exit::Done)
}

fn story(
    root: &std::path::Path,
    options: &Options,
    say: &dyn Fn(&str),
    stop: &AtomicBool,
) -> Result<Vec<Row>, Failed> {
    let company = Company::found(root, options.data.as_deref())?;
    let hands = Hands::new(&company)?;
    let _cloud = hands.start_cloud(&company)?;
    company.start()?;
    let manifest = company.manifest()?;
    let bytes: u64 = manifest.keys().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum();
    say(&format!(
        "A small company: a web shop with 50 orders a second, {}, {} files ({}).\nTwo vaults: a folder of the server, and a cloud.\n",
        company.orders.what(),
        manifest.len(),
        size(bytes)
    ));
    let mut rows = Vec::new();
    for crash in CRASHES {
        if stop.load(Relaxed) {
            return Err(Failed("interrupted".into()));
        }
        say(&format!("{}: {}", crash.cause, crash.what));
        let row = crash.happen(&company, &hands, &manifest)?;
        say(&format!(
            "  back after {:.1} s; {} orders of {} lost; {} files are as they were\n",
            row.rta_seconds, row.orders_lost, row.orders, row.files_checked
        ));
        rows.push(row);
    }
    Ok(rows)
}

fn print(rows: &[Row]) {
    let mut table = show::table(&[
        "cause",
        "usual outage",
        "back after",
        "promised",
        "lost",
        "promised",
        "orders lost",
        "files checked",
    ]);
    for row in rows {
        let seconds = |seconds: f64| format!("{seconds:.1} s");
        table.add_row([
            row.cause,
            row.usual,
            &seconds(row.rta_seconds),
            hands::RTO,
            &seconds(row.rpa_seconds),
            hands::RPO,
            &format!("{} of {}", row.orders_lost, row.orders),
            &row.files_checked.to_string(),
        ]);
    }
    page!("{table}");
}

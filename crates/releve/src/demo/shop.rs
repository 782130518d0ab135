//! The company's web shop: a process of its own that serves HTTP and takes orders into the company's database, so that the
//! demo has something real to crash.
//!
//! It reads its release and its configuration at start, as programs do: a deleted file is noticed at the next start,
//! or by `/health`, which looks again.

use super::orders::{Ledger, kill_server};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use process::{Life, Process};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How often a customer orders. The demo counts what is lost in these.
pub(super) const ORDER_EVERY: Duration = Duration::from_millis(20);

/// Where things lie below the company's root.
pub(super) const RELEASE: &str = "srv/shop/release.toml";
pub(super) const CONFIGURATION: &str = "etc/shop/shop.toml";

/// The only release line that this program can run.
const RELEASE_LINE: &str = "1.";

struct Shop {
    root: PathBuf,
    orders: String,
}

/// Starts the shop as a process of its own and returns at once, as an init system does. Stops the one that runs, if any.
pub(super) fn start(options: &Serving) -> io::Result<()> {
    stop(&options.pid_file);
    let text = |path: &Path| path.as_os_str().to_owned();
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([OsString::from("demo-shop"), "serve".into(), "--root".into(), text(&options.root)])
        .args([
            "--port".into(),
            options.port.to_string(),
            "--while".into(),
            options.while_process.to_string(),
        ])
        .args([OsString::from("--pid-file"), text(&options.pid_file)])
        .args(["--orders", &options.orders])
        .args(options.cluster.iter().flat_map(|data| [OsString::from("--cluster"), text(data)]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Not of the terminal's group: a Ctrl-C for the demo is not one for its shop.
        .process_group(0);
    let child = command.spawn()?;
    // With its start: when it is killed, nobody else of that number is.
    let child = Process::of(child.id()).ok_or(io::ErrorKind::NotFound)?;
    std::fs::write(&options.pid_file, child.to_string())
}

/// Kills the shop, if it runs, and waits until it is gone.
pub(super) fn stop(pid_file: &Path) {
    let read = std::fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse::<Process>().ok());
    let Some(process) = read else { return };
    let _ = std::fs::remove_file(pid_file);
    let Some(pid) = i32::try_from(process.pid()).ok().and_then(Pid::from_raw) else { return };
    if process.life(Process::this()) != Life::Lives {
        return;
    }
    let _ = kill_process(pid, Signal::KILL);
    for _ in 0..500 {
        // The one who started it may reap it; a zombie holds no file and no port.
        if process.life(Process::this()) != Life::Lives {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// What a running shop needs to know.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Serving {
    #[arg(long)]
    root: PathBuf,
    #[arg(long)]
    port: u16,
    #[arg(long)]
    pid_file: PathBuf,
    /// The address of the order database
    #[arg(long)]
    orders: String,
    /// The data directory of a database server that ends with the shop's company
    #[arg(long)]
    cluster: Option<PathBuf>,
    /// The shop ends when this process does: a killed demo leaves nothing behind
    #[arg(long = "while")]
    while_process: Process,
}

/// Runs the shop until the process that it serves ends.
pub(super) fn serve(options: &Serving) -> io::Result<()> {
    let root = &options.root;
    check_files(root).map_err(io::Error::other)?;
    let mut ledger = Ledger::open(&options.orders).map_err(io::Error::other)?;
    ledger.count().map_err(io::Error::other)?;
    let shop = Arc::new(Shop { root: root.to_owned(), orders: options.orders.clone() });
    std::thread::spawn(move || take_orders(&mut ledger));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", options.port)).await?;
        let pages = Router::new()
            .route("/", get(front))
            .route("/health", get(health))
            .route("/orders", get(count))
            .with_state(shop);
        tokio::select! {
            result = axum::serve(listener, pages) => result,
            () = end_of(&options.while_process) => {
                options.cluster.iter().for_each(|data| kill_server(data));
                Ok(())
            }
        }
    })
}

async fn end_of(process: &Process) {
    let mut clock = tokio::time::interval(Duration::from_millis(200));
    while process.life(Process::this()) != Life::Gone {
        clock.tick().await;
    }
}

fn check_files(root: &Path) -> Result<String, String> {
    let read =
        |path: &str| std::fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"));
    let value = |text: &str, key: &str| {
        text.lines().find_map(|line| Some(line.strip_prefix(key)?.split('"').nth(1)?.to_owned()))
    };
    let release = value(&read(RELEASE)?, "version").ok_or("the release names no version")?;
    if !release.starts_with(RELEASE_LINE) {
        return Err(format!("release {release} crashes at start: it expects a table that nobody created"));
    }
    value(&read(CONFIGURATION)?, "title").ok_or("the configuration names no title")?;
    Ok(release)
}

fn take_orders(ledger: &mut Ledger) {
    loop {
        // A customer whose order fails goes away; the health check tells the rest.
        let _ = ledger.order();
        std::thread::park_timeout(ORDER_EVERY);
    }
}

async fn front(State(shop): State<Arc<Shop>>) -> Result<String, (StatusCode, String)> {
    let page = std::fs::read_to_string(shop.root.join("srv/shop/index.html"));
    page.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn health(State(shop): State<Arc<Shop>>) -> Result<String, (StatusCode, String)> {
    let release = check_files(&shop.root).map_err(|why| (StatusCode::INTERNAL_SERVER_ERROR, why))?;
    let orders = count(State(shop)).await?;
    Ok(format!("ok release {release} orders {orders}"))
}

async fn count(State(shop): State<Arc<Shop>>) -> Result<String, (StatusCode, String)> {
    let orders = shop.orders.clone();
    // Opened anew: a deleted database still answers those who had it open.
    let count = tokio::task::spawn_blocking(move || Ledger::open(&orders)?.count()).await;
    let count = count.unwrap_or_else(|error| Err(error.to_string()));
    count.map(|count| count.to_string()).map_err(|why| (StatusCode::INTERNAL_SERVER_ERROR, why))
}

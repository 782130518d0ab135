//! The company's web shop: a process of its own that serves HTTP and takes orders into an SQLite database, so that the
//! demo has something real to crash.
//!
//! It reads its release and its configuration at start, as programs do: a deleted file is noticed at the next start,
//! or by `/health`, which looks again.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a customer orders. The demo counts what is lost in these.
pub(super) const ORDER_EVERY: Duration = Duration::from_millis(20);

/// Where things lie below the company's root.
pub(super) const RELEASE: &str = "srv/shop/release.toml";
pub(super) const CONFIGURATION: &str = "etc/shop/shop.toml";
pub(super) const ORDERS: &str = "srv/orders/orders.db";

/// The only release line that this program can run.
const RELEASE_LINE: &str = "1.";

struct Shop {
    root: PathBuf,
    orders: Mutex<Connection>,
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
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Not of the terminal's group: a Ctrl-C for the demo is not one for its shop.
        .process_group(0);
    let child = command.spawn()?;
    std::fs::write(&options.pid_file, child.id().to_string())
}

/// Kills the shop, if it runs, and waits until it is gone.
pub(super) fn stop(pid_file: &Path) {
    let number = std::fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse().ok());
    let Some(pid) = number.and_then(Pid::from_raw) else { return };
    let _ = std::fs::remove_file(pid_file);
    let _ = kill_process(pid, Signal::KILL);
    for _ in 0..500 {
        // The one who started it may reap it; a zombie holds no file and no port.
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
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
    /// The shop ends when this process does: a killed demo leaves nothing behind
    #[arg(long = "while")]
    while_process: i32,
}

/// Runs the shop until the process that it serves ends.
pub(super) fn serve(options: &Serving) -> io::Result<()> {
    let root = &options.root;
    check_files(root).map_err(io::Error::other)?;
    let orders = open_orders(root).map_err(io::Error::other)?;
    let shop = Arc::new(Shop { root: root.to_owned(), orders: Mutex::new(orders) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", options.port)).await?;
        tokio::spawn(take_orders(Arc::clone(&shop)));
        let pages = Router::new()
            .route("/", get(front))
            .route("/health", get(health))
            .route("/orders", get(count))
            .with_state(shop);
        tokio::select! {
            result = axum::serve(listener, pages) => result,
            () = end_of(options.while_process) => Ok(()),
        }
    })
}

async fn end_of(process: i32) {
    let mut clock = tokio::time::interval(Duration::from_millis(200));
    while Pid::from_raw(process).is_some_and(|pid| test_kill_process(pid).is_ok()) {
        clock.tick().await;
    }
}

/// Creates the empty order database of a new company.
pub(super) fn create_orders(root: &Path) -> rusqlite::Result<()> {
    let path = root.join(ORDERS);
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(
        "create table orders (id integer primary key, article text not null, price integer not null, placed text not null)",
    )
}

fn open_orders(root: &Path) -> Result<Connection, String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection =
        Connection::open_with_flags(root.join(ORDERS), flags).map_err(|error| error.to_string())?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(|error| error.to_string())?;
    connection
        .query_row("select count(*) from orders", [], |row| row.get::<_, i64>(0))
        .map_err(|error| error.to_string())?;
    Ok(connection)
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

async fn take_orders(shop: Arc<Shop>) {
    let mut clock = tokio::time::interval(ORDER_EVERY);
    loop {
        clock.tick().await;
        let orders = shop.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // A customer whose order fails goes away; the health check tells the rest.
        let _ = orders.execute(
            "insert into orders (article, price, placed) values ('Lampe de bureau', 4900, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
            [],
        );
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
    let orders = shop.orders.lock().unwrap_or_else(PoisonError::into_inner);
    // The file is opened anew by name: a deleted database still answers through the old handle.
    let fresh = open_orders(&shop.root).map_err(|why| (StatusCode::INTERNAL_SERVER_ERROR, why))?;
    drop(orders);
    fresh
        .query_row("select count(*) from orders", [], |row| row.get::<_, i64>(0))
        .map(|count| count.to_string())
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

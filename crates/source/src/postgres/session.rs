//! A session with a server, no answer of which is waited for without end.
//!
//! The kernel takes connections also for a server that is stopped, or whose disk or machine hangs, and then nobody ever says anything: no error comes by itself. So a
//! handshake has its time; and where an answer is late, which a busy server's may be, it is asked whether the server still lets anybody in.

use process::Wait;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Connection, Error, NoTls, Row, SimpleQueryMessage, Socket};

/// How long a connection may take, and its handshake as long again. The url may say otherwise.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// After so long a silence it is asked whether the server is there at all.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may take to take leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody wants this process to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server has said so, or the way to it.
    Said(Error),
    /// Nobody has said anything for so long.
    Silent(Duration),
    /// Somebody wants this process to end.
    Ended,
    /// This machine can't even ask.
    Here(std::io::Error),
}

impl Failed {
    /// Returns the server's own word for it.
    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Said(error) => error.code(),
            _ => None,
        }
    }

    /// Returns where in its own program the server has said it: that is in no language.
    pub(super) fn routine(&self) -> Option<&str> {
        match self {
            Self::Said(error) => error.as_db_error()?.routine(),
            _ => None,
        }
    }

    /// Returns it for a person.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Said(error) => match error.as_db_error() {
                Some(said) => said.message().to_owned(),
                None => {
                    let mut text = error.to_string();
                    let mut source = std::error::Error::source(error);
                    while let Some(inner) = source {
                        text = format!("{text}: {inner}");
                        source = inner.source();
                    }
                    text
                }
            },
            Self::Silent(time) => format!(
                "it takes connections and doesn't answer: {} s were waited. Its process is stopped, or its disk or machine hangs: look at it there",
                time.as_secs()
            ),
            Self::Ended => "interrupted".to_owned(),
            Self::Here(error) => error.to_string(),
        }
    }
}

/// A session.
pub(super) struct Session {
    /// Until it takes leave.
    client: Option<tokio_postgres::Client>,
    line: Line,
}

/// The way to the server.
struct Line {
    runtime: Runtime,
    connection: Connection<Socket, NoTlsStream>,
    has_ended: bool,
    config: Config,
}

impl Session {
    /// Connects.
    pub(super) fn open(config: &Config) -> Result<Self, Failed> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failed::Here)?;
        let within = config.get_connect_timeout().copied().unwrap_or(CONNECT_WITHIN).saturating_mul(2);
        let wait = Wait::begin();
        let opened = {
            let mut opening = pin!(config.connect(NoTls));
            runtime.block_on(look_every(within, wait, &mut |context: &mut Context<'_>| {
                opening.as_mut().poll(context)
            }))
        };
        match opened {
            Ok((client, connection)) => {
                let line = Line { runtime, connection, has_ended: false, config: config.clone() };
                Ok(Self { client: Some(client), line })
            }
            Err(why) => {
                // A name that nobody resolves would be waited for.
                runtime.shutdown_background();
                Err(why)
            }
        }
    }

    pub(super) fn query(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failed> {
        let Self { client: Some(client), line } = self else { return Err(Failed::Ended) };
        line.wait(client.query(sql, parameters))
    }

    pub(super) fn query_one(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, Failed> {
        let Self { client: Some(client), line } = self else { return Err(Failed::Ended) };
        line.wait(client.query_one(sql, parameters))
    }

    pub(super) fn query_opt(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Failed> {
        let Self { client: Some(client), line } = self else { return Err(Failed::Ended) };
        line.wait(client.query_opt(sql, parameters))
    }

    pub(super) fn execute(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64, Failed> {
        let Self { client: Some(client), line } = self else { return Err(Failed::Ended) };
        line.wait(client.execute(sql, parameters))
    }

    /// Asks what may have no end: who hasn't answered within this time has not.
    pub(super) fn simple_query_within(
        &mut self,
        sql: &str,
        within: Duration,
    ) -> Result<Vec<SimpleQueryMessage>, Failed> {
        let Self { client: Some(client), line } = self else { return Err(Failed::Ended) };
        line.wait_within(client.simple_query(sql), Some(within))
    }

    pub(super) fn batch_execute(&mut self, sql: &str) -> Result<(), Failed> {
        let Self { client: Some(client), line } = self else { return Err(Failed::Ended) };
        line.wait(client.batch_execute(sql))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nobody asks any more: the connection takes leave and ends.
        drop(self.client.take());
        let _ = self.line.listen(LEAVE_WITHIN, Wait::unhurried(), None::<Pin<&mut Nothing>>);
    }
}

/// What is waited for where only the end of the connection is.
type Nothing = std::future::Pending<Result<(), Error>>;

impl Line {
    /// Waits for an answer for as long as the server is there.
    fn wait<T>(&mut self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Failed> {
        self.wait_within(answer, None)
    }

    /// The same, for so long at most.
    fn wait_within<T>(
        &mut self,
        answer: impl Future<Output = Result<T, Error>>,
        within: Option<Duration>,
    ) -> Result<T, Failed> {
        let (wait, begun) = (Wait::begin(), Instant::now());
        let mut answer = pin!(answer);
        loop {
            let left = within.map_or(SILENCE, |within| within.saturating_sub(begun.elapsed()).min(SILENCE));
            match self.listen(left, wait, Some(answer.as_mut())) {
                Err(Failed::Silent(_)) => {}
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => return Err(Failed::Ended),
                Err(why) => return Err(why),
            }
            if within.is_some_and(|within| begun.elapsed() >= within) {
                return Err(Failed::Silent(begun.elapsed()));
            }
            // It is at work as long as it lets others in, or refuses them in its own words.
            match Self::knock(&self.config) {
                Err(Failed::Silent(_)) => return Err(Failed::Silent(begun.elapsed())),
                Err(Failed::Ended) => return Err(Failed::Ended),
                _ => {}
            }
        }
    }

    fn knock(config: &Config) -> Result<(), Failed> {
        Session::open(config).map(drop)
    }

    /// Lets the connection do its work until there is an answer, or, where none is waited for, until it has ended.
    fn listen<T, F: Future<Output = Result<T, Error>>>(
        &mut self,
        within: Duration,
        wait: Wait,
        mut answer: Option<Pin<&mut F>>,
    ) -> Result<Option<T>, Failed> {
        let Self { runtime, connection, has_ended, .. } = self;
        runtime.block_on(look_every(within, wait, &mut |context: &mut Context<'_>| {
            while !*has_ended {
                match connection.poll_message(context) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(error))) => {
                        *has_ended = true;
                        return Poll::Ready(Err(error));
                    }
                    Poll::Ready(None) => *has_ended = true,
                    Poll::Pending => break,
                }
            }
            match &mut answer {
                Some(answer) => answer.as_mut().poll(context).map(|answer| answer.map(Some)),
                None if *has_ended => Poll::Ready(Ok(None)),
                None => Poll::Pending,
            }
        }))
    }
}

/// Waits until `poll` has something, for so long at most and not in vain.
async fn look_every<T>(
    within: Duration,
    wait: Wait,
    poll: &mut (dyn FnMut(&mut Context<'_>) -> Poll<Result<T, Error>> + '_),
) -> Result<T, Failed> {
    let begun = Instant::now();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    poll_fn(|context| {
        if let Poll::Ready(done) = poll(context) {
            return Poll::Ready(done.map_err(Failed::Said));
        }
        while looks.poll_tick(context).is_ready() {
            if wait.is_over() {
                return Poll::Ready(Err(Failed::Ended));
            }
            if begun.elapsed() >= within {
                return Poll::Ready(Err(Failed::Silent(within)));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_server_that_takes_connections_and_says_nothing_is_not_waited_for_without_end() {
        // The kernel takes them for it.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = format!("postgres://u@127.0.0.1:{port}/d?connect_timeout=1&sslmode=disable");
        let begun = Instant::now();
        let why = Session::open(&config.parse().unwrap()).err().unwrap();
        assert!(matches!(why, Failed::Silent(_)), "{why:?}");
        assert!(why.text().contains("takes connections and doesn't answer: 2 s"), "{}", why.text());
        assert!(begun.elapsed() < Duration::from_secs(8));
    }

    #[test]
    fn one_that_is_not_there_is_told_at_once() {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let config = format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable");
        let why = Session::open(&config.parse().unwrap()).err().unwrap();
        assert!(matches!(why, Failed::Said(_)) && why.code().is_none(), "{why:?}");
        assert!(why.text().contains("refused"), "{}", why.text());
    }
}

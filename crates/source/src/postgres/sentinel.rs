//! A row that the agent writes over and over: what of it is there after a recovery says in the data themselves how much was lost.
//!
//! There is one for each history (timeline), counted in it. So what the agent writes as soon as a recovered server takes writes, in a history of
//! its own, hides nothing; and no clock is needed to tell which of two was written later.

use super::server::{Server, sort};
use super::session::{Failed, Session};
use crate::{Error, Kind, Result, Sentinel};
use tokio_postgres::Row;
use vault::Timestamp;

/// Nobody waits for us, and nothing is resolved in a schema of somebody else. Whether a distant standby has it doesn't matter.
const BEGIN: &str = "BEGIN; SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '2s'; \
    SET LOCAL synchronous_commit = local";
/// What belongs to another role could run what that wrote, with our rights.
const LOOK: &str = "SELECT pg_is_in_recovery(), \
    (SELECT pg_get_userbyid(nspowner) = current_user FROM pg_namespace WHERE nspname = 'releve'), \
    (SELECT pg_get_userbyid(relowner) = current_user AND relkind = 'r' FROM pg_class \
        WHERE relname = 'sentinel' AND relnamespace = to_regnamespace('releve')), \
    quote_ident(current_user), current_database()::text";
const CREATE: &str = "CREATE TABLE releve.sentinel (history int PRIMARY KEY, number int8 NOT NULL, at timestamptz NOT NULL); \
    COMMENT ON TABLE releve.sentinel IS 'The agent of Relève writes here: what is left of it after a recovery says how much was lost'";
/// The history is the number that names of segments begin with.
const WRITE: &str = "INSERT INTO releve.sentinel AS own (history, number, at) \
    SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int4, 1, clock_timestamp() \
    ON CONFLICT (history) DO UPDATE SET number = own.number + 1, at = excluded.at \
    RETURNING history, number, (extract(epoch FROM at) * 1000000)::int8";
const READ: &str = "SELECT history, number, (extract(epoch FROM at) * 1000000)::int8 FROM releve.sentinel \
    WHERE history < ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int4 \
    ORDER BY history DESC LIMIT 1";

/// What stands in the database.
enum Place {
    Table,
    Schema,
    /// Why nothing can be written or read.
    Nothing(String),
}

impl Server {
    /// Writes the row of the server's history anew, and returns it once it is committed.
    pub(super) fn write_sentinel(&mut self) -> Result<Sentinel> {
        let place = "write the sentinel";
        let wrong = |error: Failed| sort(place, &error);
        let transaction = begin(self, place)?;
        match look(transaction, place)? {
            Place::Table => {}
            Place::Schema => transaction.batch_execute(CREATE).map_err(wrong)?,
            Place::Nothing(why) => return Err(Error::new(place, Kind::Invalid(why))),
        }
        let row = transaction.query_one(WRITE, &[]).map_err(wrong)?;
        transaction.batch_execute("COMMIT").map_err(wrong)?;
        Ok(sentinel(&row))
    }

    /// Returns the row of the history before the one that the server is in now, which its recovery has begun.
    pub(super) fn read_sentinel(&mut self) -> Result<Sentinel> {
        let place = "read the sentinel";
        let transaction = begin(self, place)?;
        let why = match look(transaction, place)? {
            Place::Table => {
                let row = transaction.query_opt(READ, &[]).map_err(|error| sort(place, &error))?;
                match row {
                    Some(row) => return Ok(sentinel(&row)),
                    None => "no agent had written to it".into(),
                }
            }
            Place::Schema => "no agent had written to it".into(),
            Place::Nothing(why) => why,
        };
        Err(Error::new(place, Kind::Invalid(why)))
    }
}

/// Begins a transaction, which ends with the session at the latest.
fn begin<'a>(server: &'a mut Server, place: &str) -> Result<&'a mut Session> {
    server.client.batch_execute(BEGIN).map_err(|error| sort(place, &error))?;
    Ok(&mut server.client)
}

fn look(transaction: &mut Session, place: &str) -> Result<Place> {
    let row = transaction.query_one(LOOK, &[]).map_err(|error| sort(place, &error))?;
    let (is_replica, owns_schema, owns_table): (bool, Option<bool>, Option<bool>) =
        (row.get(0), row.get(1), row.get(2));
    let (role, database): (String, String) = (row.get(3), row.get(4));
    Ok(match (owns_schema, owns_table) {
        _ if is_replica => Place::Nothing("the server is a replica, which takes no writes".into()),
        (None, _) => Place::Nothing(format!(
            "nobody has allowed it: in the database {database}, CREATE SCHEMA releve AUTHORIZATION {role}"
        )),
        (Some(true), None) => Place::Schema,
        (Some(true), Some(true)) => Place::Table,
        (Some(false), _) | (_, Some(false)) => Place::Nothing(format!(
            "releve.sentinel and its schema must be a table and a schema of {role}'s own: ALTER SCHEMA releve OWNER TO {role}"
        )),
    })
}

fn sentinel(row: &Row) -> Sentinel {
    let (history, number, micros): (i32, i64, i64) = (row.get(0), row.get(1), row.get(2));
    Sentinel {
        history: history.cast_unsigned(),
        number: number.cast_unsigned(),
        at: Timestamp {
            seconds: micros.div_euclid(1_000_000),
            nanos: u32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default(),
        },
    }
}

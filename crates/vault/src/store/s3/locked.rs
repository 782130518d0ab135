//! Object Lock and versions. Held means COMPLIANCE: GOVERNANCE is lifted by whoever has the right to bypass it, and an
//! intruder with the server's credentials may have it.

use super::super::{Canary, Version, Versions, paced};
use super::signed::{Answer, Ask};
use super::{Course, Failure, FileKind, S3Store, is_name, place};
use crate::{Error, Kind, Result};
use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};
use opendal::Buffer;
use reqwest::Method;
use serde::Deserialize;
use std::time::Duration;

const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
/// Asks for what only a privileged person may do: the canary tries what an intruder would.
const BYPASS: (&str, &str) = ("x-amz-bypass-governance-retention", "true");
const COMPLIANCE: &str = "COMPLIANCE";
const CANARY: &str = "releve-canary";
const CANARY_TEXT: &[u8] = b"Releve writes this and tries to delete it, to see whether anyone could.\n";
/// How far an end may differ from what was asked for: stores keep seconds or milliseconds.
const ROUNDING: SignedDuration = SignedDuration::from_secs(2);

/// A page of a listing of versions: by key, and the newest of a key first. Versions and marks stand mixed in one sequence.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_version_id_marker: Option<String>,
    #[serde(default)]
    version: Vec<Listed>,
    #[serde(default)]
    delete_marker: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    version_id: String,
    is_latest: bool,
    last_modified: Timestamp,
    #[serde(default)]
    size: u64,
}

impl S3Store {
    /// Returns until when a file of this kind is held that is written now. Locks live for minutes, and must go.
    pub(super) fn hold_for(&self, kind: FileKind) -> Option<Timestamp> {
        let period = self.period.filter(|_| kind != FileKind::Lock)?;
        Timestamp::now().checked_add(period).ok()
    }

    pub(super) async fn put_held(
        &self,
        path: &str,
        bytes: &Buffer,
        until: Timestamp,
    ) -> Result<Answer, Failure> {
        let (length, sum) = (bytes.len().to_string(), md5_of(&bytes.to_bytes()));
        let ask = Ask {
            method: Method::PUT,
            key: &self.key(path),
            query: &[],
            // A body that is sent piece by piece doesn't know its length.
            headers: &[
                ("content-length", &length),
                ("content-md5", &sum),
                (MODE, COMPLIANCE),
                (UNTIL, &date(until)),
            ],
            within: Duration::MAX,
        };
        let body = paced::body(bytes.clone(), self.limits.pace.as_ref());
        self.uploaded(bytes.len(), self.line().signed.send(&ask, body)).await?
    }

    pub(super) fn key(&self, path: &str) -> String {
        if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) }
    }

    async fn on_version(
        &self,
        method: Method,
        path: &str,
        id: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Answer, Failure> {
        let key = self.key(path);
        let query = [("versionId", id)];
        let ask = Ask { method, key: &key, query: &query, headers, within: self.limits.stall() };
        self.line().signed.send(&ask, Vec::new()).await
    }

    async fn retention(&self, path: &str, id: &str) -> Result<Option<Timestamp>, Failure> {
        let answer = self.on_version(Method::HEAD, path, id, &[]).await?;
        let until = answer.header(UNTIL).and_then(|date| date.parse().ok());
        Ok(until.filter(|_| answer.header(MODE) == Some(COMPLIANCE)))
    }

    async fn retain(
        &self,
        path: &str,
        id: &str,
        until: Timestamp,
        more: Option<(&'static str, &str)>,
    ) -> Result<(), Failure> {
        let body = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{COMPLIANCE}</Mode>\
             <RetainUntilDate>{}</RetainUntilDate></Retention>",
            date(until)
        );
        let sum = md5_of(body.as_bytes());
        let headers: Vec<_> = [("content-md5", sum.as_str())].into_iter().chain(more).collect();
        let ask = Ask {
            method: Method::PUT,
            key: &self.key(path),
            query: &[("retention", ""), ("versionId", id)],
            headers: &headers,
            within: self.limits.stall(),
        };
        self.line().signed.send(&ask, body).await.map(drop)
    }

    /// Lists the versions of all objects whose path in the vault begins so: the newest content of a key first.
    async fn list_versions(&self, prefix: &str) -> Result<Vec<(String, Version)>, Failure> {
        let prefix = self.key(prefix);
        let vault = self.key("");
        let (mut key, mut version) = (String::new(), String::new());
        let (mut found, mut course) = (Vec::new(), Course::default());
        loop {
            let mut query = vec![("prefix", prefix.as_str()), ("versions", "")];
            if !key.is_empty() {
                query.extend([("key-marker", key.as_str()), ("version-id-marker", version.as_str())]);
            }
            query.retain(|(name, value)| !value.is_empty() || *name == "versions");
            let page: Page = self.line().signed.page(&query, self.limits.stall(), &self.tempo).await?;
            self.tempo.page(page.is_truncated, page.version.len() + page.delete_marker.len());
            let versions = page.version.into_iter().map(|listed| (listed, false));
            for (listed, is_mark) in versions.chain(page.delete_marker.into_iter().map(|mark| (mark, true))) {
                let Some(path) = listed.key.strip_prefix(&vault) else { continue };
                if !course.saw(&format!("{path} {} {is_mark}", listed.version_id)) {
                    continue;
                }
                let version = Version {
                    name: path.rsplit('/').next().unwrap_or(path).to_owned(),
                    id: listed.version_id,
                    size: listed.size,
                    written: listed.last_modified,
                    is_mark,
                    is_current: listed.is_latest,
                };
                found.push((path.to_owned(), version));
            }
            if !page.is_truncated {
                return Ok(found);
            }
            // Both together say where it goes on.
            let next = page.next_key_marker.filter(|next| !next.is_empty());
            let next_version = page.next_version_id_marker.unwrap_or_default();
            let turn = next.as_ref().map(|next| format!("{next} {next_version}"));
            course.turn(turn).map_err(Failure::Final)?;
            (key, version) = (next.unwrap_or_default(), next_version);
        }
    }

    async fn canary(&self, until: Timestamp) -> Result<Canary, Failure> {
        let lost = |why: String| Ok(Canary::Lost(why));
        let id = match self.put_held(CANARY, &Buffer::from(CANARY_TEXT), until).await {
            Ok(answer) => answer.header("x-amz-version-id").map(str::to_owned),
            Err(Failure::Final(Kind::Refused(why))) => {
                return lost(format!("nothing can be written as held: {why}"));
            }
            Err(failure) => return Err(failure),
        };
        let Some(id) = id.filter(|id| id != "null") else {
            return lost("the store keeps no versions: what is overwritten is gone".into());
        };
        match self.retention(CANARY, &id).await? {
            Some(held) if held + ROUNDING >= until => {}
            _ => return lost("the store took a file as held and doesn't show it as held".into()),
        }
        // Refusals are what is hoped for; what counts is what is there afterwards.
        let sooner = Timestamp::now() + SignedDuration::from_mins(1);
        match self.retain(CANARY, &id, sooner, Some(BYPASS)).await {
            Ok(()) | Err(Failure::Final(_)) => {}
            Err(failure) => return Err(failure),
        }
        if self.retention(CANARY, &id).await?.is_none_or(|held| held + ROUNDING < until) {
            return lost("the hold of a file could be made shorter with these credentials".into());
        }
        match self.on_version(Method::DELETE, CANARY, &id, &[BYPASS]).await {
            Ok(_) | Err(Failure::Final(_)) => {}
            Err(failure) => return Err(failure),
        }
        match self.on_version(Method::HEAD, CANARY, &id, &[]).await {
            Ok(_) => Ok(Canary::Held),
            Err(Failure::Final(Kind::NotFound)) => {
                lost("a file that was written as held could be deleted with these credentials".into())
            }
            Err(failure) => Err(failure),
        }
    }
}

impl Versions for S3Store {
    fn period(&self) -> Option<SignedDuration> {
        self.period
    }

    fn versions(&self, kind: FileKind) -> Result<Vec<Version>> {
        let prefix =
            if kind == FileKind::Config { "config".to_owned() } else { format!("{}/", kind.folder()) };
        let found = self.call(
            || format!("list the versions of {prefix} in {}", self.shown),
            async |_| self.list_versions(&prefix).await,
        )?;
        let ours = |(path, version): &(String, Version)| {
            *path == kind.path(&version.name) && (kind == FileKind::Config || is_name(&version.name))
        };
        let mut versions: Vec<Version> =
            found.into_iter().rev().filter(ours).map(|(_, version)| version).collect();
        // S3 gives the newest first: after the reversal the oldest is, and a stable sort leaves it so.
        versions.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(versions)
    }

    fn read_version(&self, kind: FileKind, version: &Version) -> Result<Vec<u8>> {
        let key = self.key(&kind.path(&version.name));
        let within = self.limits.allowance(usize::try_from(version.size).unwrap_or(usize::MAX));
        let query = [("versionId", version.id.as_str())];
        self.call(
            || place(self, "read an older version of", kind, &version.name),
            async |_| {
                let ask = Ask { method: Method::GET, key: &key, query: &query, headers: &[], within };
                Ok(self.line().signed.send(&ask, Vec::new()).await?.body)
            },
        )
    }

    fn held_until(&self, kind: FileKind, version: &Version) -> Result<Option<Timestamp>> {
        let path = kind.path(&version.name);
        self.call(
            || place(self, "look at the hold of", kind, &version.name),
            async |_| self.retention(&path, &version.id).await,
        )
    }

    fn hold(&self, kind: FileKind, version: &Version, until: Timestamp) -> Result<()> {
        let path = kind.path(&version.name);
        self.call(
            || place(self, "hold", kind, &version.name),
            async |_| self.retain(&path, &version.id, until, None).await,
        )
    }

    fn unhide(&self, kind: FileKind, mark: &Version) -> Result<()> {
        let place = || place(self, "bring back", kind, &mark.name);
        if !mark.is_mark {
            return Err(Error::new(place(), Kind::Refused("only a mark is ever taken away".into())));
        }
        let path = kind.path(&mark.name);
        self.call(place, async |_| match self.on_version(Method::DELETE, &path, &mark.id, &[]).await {
            Ok(_) | Err(Failure::Final(Kind::NotFound)) => Ok(()),
            Err(failure) => Err(failure),
        })
    }

    fn bring_back(&self, kind: FileKind, version: &Version) -> Result<()> {
        let key = self.key(&kind.path(&version.name));
        let source = self.line().signed.source(&key, &version.id);
        let within = self.limits.allowance(usize::try_from(version.size).unwrap_or(usize::MAX));
        self.call(
            || place(self, "bring back", kind, &version.name),
            async |_| {
                let until = self.hold_for(kind).map(date);
                let mut headers = vec![("x-amz-copy-source", source.as_str())];
                let sum = md5_of(&[]);
                if let Some(until) = &until {
                    headers.extend([
                        ("content-md5", sum.as_str()),
                        (MODE, COMPLIANCE),
                        (UNTIL, until.as_str()),
                    ]);
                }
                let ask = Ask { method: Method::PUT, key: &key, query: &[], headers: &headers, within };
                self.line().signed.send(&ask, Vec::new()).await.map(drop)
            },
        )
    }

    fn try_canary(&self) -> Result<Canary> {
        let place = || format!("try to delete a held file in {}", self.shown);
        let Some(period) = self.period else {
            return Ok(Canary::Lost("nothing is written as held: the plan has no immutable_for".into()));
        };
        let until = Timestamp::now()
            .checked_add(period)
            .map_err(|error| Error::new(place(), Kind::Unsupported(error.to_string())))?;
        self.call(place, async |_| self.canary(until).await)
    }
}

fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Object Lock asks for a checksum, and this is the one that every dialect knows.
pub(super) fn md5_of(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(Md5::digest(bytes))
}

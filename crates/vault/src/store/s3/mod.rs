//! A repository in an S3 bucket, or in anything that speaks S3.
//!
//! S3 itself shows an object only when it is whole and stored, so a write is one request. Keys come from the
//! caller alone: neither the environment, nor `~/.aws`, nor a cloud's metadata service is asked.

mod archive;
mod locked;
mod signed;

use super::address::S3Address;
use super::busy::Busy;
use super::limits::Failure;
use super::listing::Course;
use super::paced::Paced;
use super::tempo::Tempo;
use super::{Credentials, FileKind, Limits, Listed, Renew, Store, Thaw, Versions, is_name, place, wire};
use crate::budget::too_long;
use crate::mutex::lock;
use crate::{Error, Kind, Result};
use futures_util::StreamExt;
use jiff::SignedDuration;
use opendal::{Buffer, BytesRange, ErrorKind, HttpTransporter, OperationContext, Operator};
use serde::Deserialize;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// S3 takes no more names in one request.
const REMOVED_AT_ONCE: usize = 1000;

/// A bucket, or a part of one, that holds a repository.
pub(super) struct S3Store {
    shown: String,
    address: S3Address,
    limits: Limits,
    tempo: Tempo,
    line: RwLock<Arc<Line>>,
    /// Where other keys come from when these have expired; one asks at a time.
    renew: Option<Mutex<Renew>>,
    client: reqwest::Client,
    busy: Busy,
    prefix: String,
    /// For how long what is written is held.
    period: Option<SignedDuration>,
}

/// The way to the bucket, with the keys that it takes.
struct Line {
    operator: Operator,
    signed: signed::Signed,
    keys: (String, String, Option<String>),
}

impl Line {
    fn new(
        address: &S3Address,
        credentials: &Credentials,
        client: &reqwest::Client,
        limits: &Limits,
        busy: &Busy,
    ) -> Result<Self, Kind> {
        let given = |key: &Option<String>| key.clone().filter(|key| !key.is_empty());
        let (Some(access), Some(secret)) = (given(&credentials.access_key), given(&credentials.secret_key))
        else {
            let what = "S3 takes an access key and a secret key, and they were not handed over";
            return Err(Kind::Refused(what.into()));
        };
        let mut builder = opendal::services::S3::default()
            .bucket(&address.bucket)
            .root(&address.prefix)
            .region(&address.region)
            .access_key_id(&access)
            .secret_access_key(&secret)
            // The server refuses what was changed on its way, and buckets with object lock ask for it.
            .checksum_algorithm("md5")
            .disable_config_load()
            .disable_ec2_metadata();
        let token = given(&credentials.session_token);
        if let Some(token) = &token {
            builder = builder.session_token(token);
        }
        if let Some(endpoint) = &address.endpoint {
            builder = builder.endpoint(endpoint);
        }
        if address.virtual_hosts {
            builder = builder.enable_virtual_host_style();
        }
        let operator =
            Operator::new(builder).map_err(|error| Kind::BadAddress(error.message().to_owned()))?;
        let transport = HttpTransporter::new(Paced::new(client.clone(), limits.pace.clone(), busy.clone()));
        let operator = operator.with_context(OperationContext::new().with_http_transport(transport));
        let keys = (access, secret, token);
        let signed = signed::Signed::new(client.clone(), busy.clone(), address, &keys);
        Ok(Self { operator, signed, keys })
    }
}

impl S3Store {
    pub(super) fn new(
        address: S3Address,
        credentials: &Credentials,
        limits: &Limits,
        period: Option<SignedDuration>,
    ) -> Result<Self> {
        let failed = |kind| Error::new(format!("open {}", address.shown), kind);
        let client =
            client(address.loopback, limits).map_err(|error| failed(Kind::Io(io::Error::other(error))))?;
        let busy = Busy::default();
        let line = Line::new(&address, credentials, &client, limits, &busy).map_err(failed)?;
        Ok(Self {
            shown: address.shown.clone(),
            prefix: address.prefix.clone(),
            address,
            limits: limits.clone(),
            tempo: Tempo::new(limits),
            line: RwLock::new(Arc::new(line)),
            renew: credentials.renew.clone().map(Mutex::new),
            client,
            busy,
            period,
        })
    }

    fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn call<T>(
        &self,
        place: impl FnOnce() -> String,
        mut attempt: impl AsyncFnMut(u32) -> Result<T, Failure>,
    ) -> Result<T> {
        let mut is_renewed = false;
        loop {
            let used = self.line();
            let mut has_expired = false;
            let done = wire::wait(self.limits.persist(async |tried| match attempt(tried).await {
                Err(Failure::Expired(kind)) => {
                    has_expired = true;
                    Err(Failure::Final(kind))
                }
                Err(Failure::Passing(what)) => {
                    self.tempo.failed();
                    Err(match self.busy.left() {
                        Some(left) => Failure::Busy(what, left),
                        None => Failure::Passing(what),
                    })
                }
                other => other,
            }));
            match done {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(_)) if has_expired && !is_renewed && self.renew(&used) => is_renewed = true,
                Ok(Err(kind)) => return Err(Error::new(place(), kind)),
                Err(error) => return Err(Error::io(place(), error)),
            }
        }
    }

    /// Asks for other keys than those that were just refused, and returns whether there are any.
    fn renew(&self, used: &Arc<Line>) -> bool {
        let Some(renew) = &self.renew else { return false };
        let renew = lock(renew);
        if !Arc::ptr_eq(used, &self.line()) {
            // Somebody else has asked meanwhile.
            return true;
        }
        let Ok(credentials) = (renew)() else { return false };
        match Line::new(&self.address, &credentials, &self.client, &self.limits, &self.busy) {
            Ok(line) if line.keys != used.keys => {
                *self.line.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(line);
                true
            }
            _ => false,
        }
    }

    /// Waits for `future`, but not for ever.
    async fn within<T>(
        &self,
        time: Duration,
        future: impl IntoFuture<Output = opendal::Result<T>>,
    ) -> Result<T, Failure> {
        match timeout(time, future.into_future()).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(silence(time)),
        }
    }

    /// Waits for an answer that the store gives at its tempo.
    async fn asked<T>(&self, future: impl IntoFuture<Output = opendal::Result<T>>) -> Result<T, Failure> {
        let done = self.came(future).await;
        if matches!(done, Ok(_) | Err(Failure::Final(_))) {
            self.tempo.answered();
        }
        done
    }

    /// Waits for a part of an answer.
    async fn came<T>(&self, future: impl IntoFuture<Output = opendal::Result<T>>) -> Result<T, Failure> {
        let done = self.tempo.wait(self.limits.stall(), future.into_future()).await?;
        done.map_err(|error| failure(&error))
    }

    async fn stat(&self, path: &str) -> Result<Option<u64>, Failure> {
        match self.asked(self.line().operator.stat(path)).await {
            Ok(meta) => Ok(Some(meta.content_length())),
            Err(Failure::Final(Kind::NotFound)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Returns the object of this kind, or a range of it, unless more than `most` bytes come.
    async fn get(
        &self,
        (kind, path): (FileKind, &str),
        range: BytesRange,
        most: u64,
    ) -> Result<Vec<u8>, Failure> {
        let reader = self.came(self.line().operator.reader(path)).await?;
        let mut stream = self.came(reader.into_stream(range)).await?;
        let mut bytes = Vec::new();
        loop {
            match self.came(async { stream.next().await.transpose() }).await? {
                Some(buffer) => {
                    self.tempo.came(buffer.len() as u64);
                    let length = bytes.len() as u64 + buffer.len() as u64;
                    if length > most {
                        return Err(Failure::Final(too_long(kind, length)));
                    }
                    Iterator::for_each(buffer, |piece| bytes.extend_from_slice(&piece));
                }
                None => {
                    self.tempo.answered();
                    return Ok(bytes);
                }
            }
        }
    }

    async fn put(&self, kind: FileKind, path: &str, buffer: &Buffer, tried: u32) -> Result<(), Failure> {
        // The answer to an earlier try may have been lost when the file was stored already.
        if tried > 0
            && kind != FileKind::Config
            && self.stat(path).await.is_ok_and(|size| size == Some(buffer.len() as u64))
        {
            return Ok(());
        }
        if let Some(until) = self.hold_for(kind) {
            return self.put_held(path, buffer, until).await.map(drop);
        }
        let line = self.line();
        let written = self.uploaded(buffer.len(), line.operator.write(path, buffer.clone()).into_future());
        written.await?.map(drop).map_err(|error| failure(&error))
    }

    /// Waits for an upload, but not for ever.
    async fn uploaded<T>(&self, bytes: usize, upload: impl Future<Output = T>) -> Result<T, Failure> {
        let mut upload = pin!(upload);
        let mut allowance = self.limits.allowance(bytes);
        loop {
            let held = self.limits.held();
            match timeout(allowance, &mut upload).await {
                Ok(done) => return Ok(done),
                // As long as somebody was held back meanwhile, that may have been us.
                Err(_) if self.limits.held() > held => {
                    allowance = self.limits.held() - held + self.limits.stall();
                }
                Err(_) => return Err(silence(allowance)),
            }
        }
    }

    /// Lists page by page. After an error the next listing begins anew: a page is never skipped.
    async fn list_all(&self, kind: FileKind) -> Result<Vec<Listed>, Failure> {
        let (vault, folder) = (self.key(""), self.key(&format!("{}/", kind.folder())));
        let (mut found, mut course, mut token) = (Vec::new(), Course::of(kind), String::new());
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", folder.as_str())];
            if !token.is_empty() {
                query.push(("continuation-token", &token));
            }
            let page: Page = self.line().signed.page(&query, self.limits.stall(), &self.tempo).await?;
            self.tempo.page(page.is_truncated, page.contents.len());
            for Object { key, size } in page.contents {
                let Some(path) = key.strip_prefix(&vault).filter(|path| course.saw(path)) else { continue };
                let name = path.rsplit('/').next().unwrap_or(path);
                if is_name(name) && path == kind.path(name) {
                    found.push(Listed { name: name.to_owned(), size });
                }
            }
            if !page.is_truncated {
                return Ok(found);
            }
            token = course.turn(page.next_continuation_token).map_err(Failure::Final)?;
        }
    }
}

/// A page of a listing.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    next_continuation_token: Option<String>,
    #[serde(default)]
    contents: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    size: u64,
}

impl Store for S3Store {
    fn address(&self) -> String {
        self.shown.clone()
    }

    /// S3 has no folders, and a trial object would stay for ever in a bucket that keeps versions: whether the bucket is
    /// there and lets us in is looked at, whether it can be written shows at the first write.
    fn create(&self) -> Result<()> {
        self.call(
            || format!("create {}", self.shown),
            async |_| {
                let stall = self.limits.stall();
                let mut lister = self.within(stall, self.line().operator.lister_with("").limit(1)).await?;
                match self.within(stall, async { lister.next().await.transpose() }).await {
                    Err(Failure::Final(Kind::NoRepository)) => {
                        Err(Failure::Final(Kind::Refused("there is no such bucket; create it first".into())))
                    }
                    other => other.map(drop),
                }
            },
        )
    }

    fn entries(&self, kind: FileKind) -> Result<Vec<Listed>> {
        self.call(|| format!("list {} in {}", kind.folder(), self.shown), async |_| self.list_all(kind).await)
    }

    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        let path = kind.path(name);
        let most = kind.length_max();
        self.call(
            || place(self, "read", kind, name),
            async |_| self.get((kind, &path), BytesRange::from(..), most).await,
        )
    }

    fn read_range(&self, kind: FileKind, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let place = || place(self, "read", kind, name);
        let short = || Kind::Damaged(format!("it ends before byte {}", range.end));
        let Some(length) = range.end.checked_sub(range.start) else {
            return Err(Error::new(place(), short()));
        };
        if length == 0 {
            return Ok(Vec::new());
        }
        let path = kind.path(name);
        self.call(place, async |_| match self.get((kind, &path), range.clone().into(), length).await {
            Ok(bytes) if bytes.len() as u64 == length => Ok(bytes),
            // An answer that doesn't fit the question: is it the file that is too short?
            Ok(_) | Err(Failure::Final(Kind::Io(_) | Kind::Damaged(_))) => {
                Err(match self.stat(&path).await? {
                    Some(size) if size >= range.end => Failure::Passing("the answer was too short".into()),
                    Some(_) => Failure::Final(short()),
                    None => Failure::Final(Kind::NotFound),
                })
            }
            Err(failure) => Err(failure),
        })
    }

    fn size(&self, kind: FileKind, name: &str) -> Result<Option<u64>> {
        let path = kind.path(name);
        self.call(|| place(self, "look at", kind, name), async |_| self.stat(&path).await)
    }

    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        self.write_owned(kind, name, bytes.to_vec()).map(drop)
    }

    fn write_owned(&self, kind: FileKind, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let path = kind.path(name);
        let buffer = Buffer::from(bytes);
        self.call(
            || place(self, "write", kind, name),
            async |tried| self.put(kind, &path, &buffer, tried).await,
        )?;
        Ok(Vec::new())
    }

    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        let path = kind.path(name);
        self.call(
            || place(self, "remove", kind, name),
            async |_| match self.within(self.limits.stall(), self.line().operator.delete(&path)).await {
                Err(Failure::Final(Kind::NotFound)) => Ok(()),
                other => other,
            },
        )
    }

    fn thaw(&self, kind: FileKind, name: &str, days: u32) -> Result<Thaw> {
        self.ask_back(kind, name, days)
    }

    fn remove_all(&self, kind: FileKind, names: &[String]) -> Result<Vec<(String, Error)>> {
        let mut refused = Vec::new();
        for names in names.chunks(REMOVED_AT_ONCE) {
            let paths: Vec<String> = names.iter().map(|name| kind.path(name)).collect();
            let at = || format!("remove {} files of {} in {}", names.len(), kind.folder(), self.shown);
            let within = self.limits.stall() * 4;
            let done = self.call(at, async |_| {
                self.within(within, self.line().operator.delete_iter(paths.clone())).await
            });
            match done {
                Ok(()) => {}
                Err(error) if error.is_retryable() => return Err(error),
                // One of them is refused, or the store doesn't know how to remove several: then each by itself.
                Err(_) => {
                    for name in names {
                        match self.remove(kind, name) {
                            Ok(()) => {}
                            Err(error) if matches!(error.kind, Kind::Refused(_)) => {
                                refused.push((name.clone(), error));
                            }
                            Err(error) => return Err(error),
                        }
                    }
                }
            }
        }
        Ok(refused)
    }

    /// Of locks alone: nothing else is asked for here.
    fn written(&self, kind: FileKind, name: &str) -> Option<SystemTime> {
        if kind != FileKind::Lock {
            return None;
        }
        let path = kind.path(name);
        let found = self.call(
            || place(self, "look at", kind, name),
            async |_| self.asked(self.line().operator.stat(&path)).await,
        );
        found.ok()?.last_modified().map(SystemTime::from)
    }

    fn lanes(&self) -> usize {
        8
    }

    fn is_local(&self) -> bool {
        false
    }

    fn versions(&self) -> Option<&dyn Versions> {
        Some(self)
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3Store").field(&self.shown).finish()
    }
}

fn client(loopback: bool, limits: &Limits) -> reqwest::Result<reqwest::Client> {
    // A setting of the process: whoever chose another TLS provider before us keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A signature is good for one server: whoever sends us to another is not followed, and it is said.
    let redirects = reqwest::redirect::Policy::none();
    let builder = reqwest::Client::builder().connect_timeout(limits.stall).redirect(redirects);
    // The way out of a company's network is this machine's business, but no proxy leads to this machine.
    if loopback { builder.no_proxy() } else { builder }.build()
}

fn silence(time: Duration) -> Failure {
    Failure::Passing(format!("no answer for {} s", time.as_secs_f32()))
}

fn failure(error: &opendal::Error) -> Failure {
    if let Some(tls) = super::certificate(error) {
        return Failure::Final(Kind::Refused(tls));
    }
    let Answer { code, text } = Answer::of(error);
    if error.is_temporary() || code == "BadDigest" {
        return Failure::Passing(text);
    }
    judge(error.kind(), &code, text)
}

/// Sorts what a server said no with.
fn judge(kind: ErrorKind, code: &str, text: String) -> Failure {
    match (kind, code) {
        (_, "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken" | "InvalidAccessKeyId") => {
            return Failure::Expired(Kind::Refused(format!(
                "{text}; these keys have expired or were withdrawn: give the plan new ones, or a command that prints them"
            )));
        }
        // What was asked for the head alone is refused without a word.
        (ErrorKind::PermissionDenied, "") => {
            return Failure::Expired(Kind::Refused("access denied, the server doesn't say why".into()));
        }
        _ => {}
    }
    Failure::Final(match (kind, code) {
        (ErrorKind::ConfigInvalid, "") => Kind::BadAddress(text),
        (_, "NoSuchBucket") => Kind::NoRepository,
        (_, "InvalidObjectState") => Kind::Archived(text),
        (_, "RequestTimeTooSkewed") => Kind::Refused(format!("{text}; set this machine's clock")),
        (_, "InvalidRequest") if text.contains("ObjectLock") || text.contains("Object Lock") => {
            Kind::Refused(format!("{text}; create the bucket with Object Lock, or take immutable_for out"))
        }
        (_, code) if code.contains("QuotaExceeded") || code.contains("StorageFull") => Kind::Full,
        (_, "InsufficientStorage") => Kind::Full,
        (_, "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed") => Kind::BadAddress(
            format!("{text}; name the bucket's own region and endpoint: region=…, endpoint=…"),
        ),
        (ErrorKind::NotFound, _) => Kind::NotFound,
        (ErrorKind::RangeNotSatisfied, _) => Kind::Damaged(text),
        (ErrorKind::PermissionDenied, _) => Kind::Refused(text),
        (_, "") => Kind::Io(io::Error::other(text)),
        _ => Kind::Refused(text),
    })
}

/// What the server said, or what kept it from saying anything.
struct Answer {
    /// S3's own code, `AccessDenied` say; empty where there was none.
    code: String,
    text: String,
}

impl Answer {
    fn of(error: &opendal::Error) -> Self {
        let field = |name: &str| {
            let (_, rest) = error.message().split_once(&format!("{name}: \""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        match (field("code"), field("message")) {
            (Some(code), Some(message)) if !code.is_empty() => {
                Self { text: format!("{code}: {message}"), code }
            }
            _ => {
                let mut deepest = error.source();
                while let Some(next) = deepest.and_then(|error| error.source()) {
                    deepest = Some(next);
                }
                let text = deepest.map_or_else(|| error.message().to_owned(), ToString::to_string);
                let text = if text.trim().is_empty() { error.kind().to_string() } else { text };
                Self { code: String::new(), text }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_an_archive_is_neither_refused_nor_damaged() {
        let said = judge(ErrorKind::PermissionDenied, "InvalidObjectState", "InvalidObjectState: no".into());
        assert!(matches!(said, Failure::Final(Kind::Archived(_))));
    }
}

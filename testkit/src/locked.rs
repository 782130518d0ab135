//! An S3 server in this process that keeps versions and Object Lock, in memory. It checks signatures, which moto doesn't, and gives listings in
//! small pages.

use crate::s3::{S3Server, serve};
use futures_util::StreamExt;
use s3s::dto::*;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;
use tokio::runtime::Runtime;

/// Entries on a page of a listing of versions: few, so that a test meets several pages.
const PAGE: usize = 3;

/// An S3 server on a free port of this machine, with one bucket that has Object Lock. It knows the keys of [`S3Server`]
/// and stops when dropped.
#[derive(Debug)]
pub struct LockedBucket {
    port: u16,
    runtime: Option<Runtime>,
}

impl LockedBucket {
    /// Starts a server.
    #[must_use]
    pub fn start() -> Self {
        let (port, runtime) = serve(Memory::default());
        Self { port, runtime: Some(runtime) }
    }

    /// Returns the vault's address for `prefix` in the bucket.
    #[must_use]
    pub fn address(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}?endpoint={}&region=us-east-1", S3Server::BUCKET, self.url())
    }

    /// As [`MotoServer::attack`](crate::MotoServer::attack).
    #[must_use]
    pub fn attack(&self) -> String {
        crate::moto::client(&self.url(), "attack")
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for LockedBucket {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Debug, Clone)]
struct Stored {
    id: String,
    /// `None` for a mark that hides.
    content: Option<Vec<u8>>,
    written: Timestamp,
    held: Option<(String, Timestamp)>,
}

impl Stored {
    fn is_held(&self, bypass: bool) -> bool {
        let mode = self.held.as_ref().filter(|(_, until)| *until > now()).map(|(mode, _)| mode.as_str());
        mode == Some(ObjectLockMode::COMPLIANCE) || (mode.is_some() && !bypass)
    }

    fn mode(&self) -> Option<ObjectLockMode> {
        self.held.as_ref().map(|(mode, _)| mode.clone().into())
    }

    fn until(&self) -> Option<Timestamp> {
        self.held.as_ref().map(|(_, until)| until.clone())
    }
}

/// For each key its versions, the oldest first.
type Objects = BTreeMap<String, Vec<Stored>>;

#[derive(Default)]
struct Memory {
    objects: Mutex<(u64, Objects)>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, (u64, Objects)> {
        self.objects.lock().unwrap()
    }

    fn add(&self, key: &str, content: Option<Vec<u8>>, held: Option<(String, Timestamp)>) -> String {
        let mut objects = self.lock();
        objects.0 += 1;
        let id = format!("version-{}", objects.0);
        let stored = Stored { id: id.clone(), content, written: now(), held };
        objects.1.entry(key.to_owned()).or_default().push(stored);
        id
    }

    fn find(&self, key: &str, id: Option<&str>) -> S3Result<Stored> {
        let objects = self.lock();
        let versions = objects.1.get(key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let found = match id {
            Some(id) => versions.iter().find(|stored| stored.id == id),
            None => versions.last(),
        };
        found.filter(|stored| stored.content.is_some()).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn hold(
    mode: Option<ObjectLockMode>,
    until: Option<Timestamp>,
    checked: bool,
) -> S3Result<Option<(String, Timestamp)>> {
    match (mode, until) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) if checked && until > now() => Ok(Some((mode.as_str().to_owned(), until))),
        _ => Err(s3_error!(InvalidRequest, "a hold takes a mode, a time to come, and a checksum")),
    }
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap()
}

#[async_trait::async_trait]
impl S3 for Memory {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        let held = hold(
            input.object_lock_mode,
            input.object_lock_retain_until_date,
            input.content_md5.is_some() || input.checksum_algorithm.is_some(),
        )?;
        let mut content = Vec::new();
        if let Some(mut body) = input.body {
            while let Some(piece) = body.next().await {
                content.extend_from_slice(&piece.map_err(|_| s3_error!(IncompleteBody))?);
            }
        }
        let id = self.add(&input.key, Some(content), held);
        Ok(S3Response::new(PutObjectOutput { version_id: Some(id), ..Default::default() }))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        let CopySource::Bucket { key, version_id, .. } = &input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        let held = hold(input.object_lock_mode, input.object_lock_retain_until_date, true)?;
        let content = self.find(key, version_id.as_deref())?.content;
        let id = self.add(&input.key, content, held);
        Ok(S3Response::new(CopyObjectOutput { version_id: Some(id), ..Default::default() }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let content = self.find(&input.key, input.version_id.as_deref())?.content.unwrap_or_default();
        let whole = content.len() as u64;
        let (content, content_range) = match input.range {
            None => (content, None),
            Some(range) => {
                let range = range.check(whole)?;
                let part = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                (content[part].to_vec(), Some(format!("bytes {}-{}/{whole}", range.start, range.end - 1)))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(length(&content)),
            content_range,
            body: Some(StreamingBlob::from(Body::from(content))),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let stored = self.find(&req.input.key, req.input.version_id.as_deref())?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: stored.content.as_deref().map(length),
            object_lock_mode: stored.mode(),
            object_lock_retain_until_date: stored.until(),
            last_modified: Some(stored.written),
            version_id: Some(stored.id),
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        let Some(id) = input.version_id else {
            let id = self.add(&input.key, None, None);
            let output =
                DeleteObjectOutput { delete_marker: Some(true), version_id: Some(id), ..Default::default() };
            return Ok(S3Response::new(output));
        };
        let bypass = input.bypass_governance_retention == Some(true);
        let mut objects = self.lock();
        if let Some(versions) = objects.1.get_mut(&input.key) {
            if versions.iter().any(|stored| stored.id == id && stored.is_held(bypass)) {
                return Err(s3_error!(AccessDenied, "it is held"));
            }
            versions.retain(|stored| stored.id != id);
        }
        objects.1.retain(|_, versions| !versions.is_empty());
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn put_object_retention(
        &self,
        req: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        let input = req.input;
        let retention = input.retention.unwrap_or_default();
        let mode = retention.mode.map(|mode| ObjectLockMode::from(mode.as_str().to_owned()));
        let held = hold(
            mode,
            retention.retain_until_date,
            input.content_md5.is_some() || input.checksum_algorithm.is_some(),
        )?;
        let bypass = input.bypass_governance_retention == Some(true);
        let mut objects = self.lock();
        let found = objects.1.get_mut(&input.key).and_then(|versions| match &input.version_id {
            Some(id) => versions.iter_mut().find(|stored| stored.id == *id),
            None => versions.last_mut(),
        });
        let stored = found.filter(|stored| stored.content.is_some()).ok_or_else(|| s3_error!(NoSuchKey))?;
        let longer = held.as_ref().is_some_and(|(mode, until)| {
            mode == ObjectLockMode::COMPLIANCE && stored.until().is_none_or(|was| was <= *until)
        });
        if stored.is_held(bypass) && !longer {
            return Err(s3_error!(AccessDenied, "a hold only becomes longer"));
        }
        stored.held = held;
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let prefix = req.input.prefix.unwrap_or_default();
        let objects = self.lock();
        let contents: Vec<Object> = objects
            .1
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .filter_map(|(key, versions)| {
                let current = versions.last()?;
                Some(Object {
                    key: Some(key.clone()),
                    size: Some(length(current.content.as_deref()?)),
                    last_modified: Some(current.written.clone()),
                    ..Default::default()
                })
            })
            .collect();
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: Some(i32::try_from(contents.len()).unwrap()),
            contents: Some(contents),
            is_truncated: Some(false),
            ..Default::default()
        }))
    }

    async fn list_object_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = req.input;
        let prefix = input.prefix.unwrap_or_default();
        let objects = self.lock();
        let all: Vec<(&String, &Stored, bool)> = objects
            .1
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .flat_map(|(key, versions)| {
                let newest_first = versions.iter().rev().enumerate();
                newest_first.map(move |(place, stored)| (key, stored, place == 0))
            })
            .collect();
        let marker = (input.key_marker.unwrap_or_default(), input.version_id_marker.unwrap_or_default());
        let start = all.iter().position(|(key, stored, _)| (*key, &stored.id) == (&marker.0, &marker.1));
        let start =
            if marker.0.is_empty() { 0 } else { start.ok_or_else(|| s3_error!(InvalidArgument))? + 1 };
        let page: Vec<_> = all.iter().skip(start).take(PAGE).collect();
        let mut output = ListObjectVersionsOutput {
            is_truncated: Some(start + page.len() < all.len()),
            next_key_marker: page.last().map(|(key, ..)| (*key).clone()),
            next_version_id_marker: page.last().map(|(_, stored, _)| stored.id.clone()),
            ..Default::default()
        };
        let (mut versions, mut marks) = (Vec::new(), Vec::new());
        for (key, stored, is_latest) in page {
            let (key, id) = (Some((*key).clone()), Some(stored.id.clone()));
            let (is_latest, last_modified) = (Some(*is_latest), Some(stored.written.clone()));
            match &stored.content {
                Some(content) => versions.push(ObjectVersion {
                    key,
                    version_id: id,
                    is_latest,
                    last_modified,
                    size: Some(length(content)),
                    ..Default::default()
                }),
                None => marks.push(DeleteMarkerEntry {
                    key,
                    version_id: id,
                    is_latest,
                    last_modified,
                    ..Default::default()
                }),
            }
        }
        (output.versions, output.delete_markers) = (Some(versions), Some(marks));
        Ok(S3Response::new(output))
    }
}

//! Objects in an archive: listed like any other, and not to be read before they were asked for and hours have passed.

use super::super::{Thaw, place};
use super::locked::md5_of;
use super::signed::Ask;
use super::{Failure, FileKind, S3Store};
use crate::{Kind, Result};
use reqwest::Method;

impl S3Store {
    pub(super) fn ask_back(&self, kind: FileKind, name: &str, days: u32) -> Result<Thaw> {
        let path = self.key(&kind.path(name));
        let body = format!(
            "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Days>{days}</Days>\
             <GlacierJobParameters><Tier>Standard</Tier></GlacierJobParameters></RestoreRequest>"
        );
        let sum = md5_of(body.as_bytes());
        self.call(
            || place(self, "bring back from the archive", kind, name),
            async |_| {
                let ask = Ask {
                    method: Method::POST,
                    key: &path,
                    query: &[("restore", "")],
                    headers: &[("content-md5", &sum)],
                    within: self.limits.stall(),
                };
                match self.line().signed.send(&ask, body.clone()).await {
                    Ok(answer) if answer.status == 200 => Ok(Thaw::There),
                    Ok(_) => Ok(Thaw::Asked),
                    Err(Failure::Final(Kind::Refused(said)))
                        if said.starts_with("RestoreAlreadyInProgress") =>
                    {
                        Ok(Thaw::UnderWay)
                    }
                    // It is in no archive.
                    Err(Failure::Final(Kind::Archived(_))) => Ok(Thaw::There),
                    Err(Failure::Final(Kind::Refused(said)))
                        if said.starts_with("ObjectAlreadyInActiveTierError") =>
                    {
                        Ok(Thaw::There)
                    }
                    Err(failure) => Err(failure),
                }
            },
        )
    }
}

//! Several vaults as one source: a blob that is bad in one is taken from the next.

use crate::{BlobId, BlobKind, Error, Kind, Node, Repository, Result, format};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Vaults that are asked in their order.
pub(crate) struct VaultSet<'a> {
    vaults: &'a [Arc<Repository>],
    faults: Mutex<BTreeMap<String, String>>,
}

impl<'a> VaultSet<'a> {
    pub(crate) fn new(vaults: &'a [Arc<Repository>]) -> Self {
        Self { vaults, faults: Mutex::default() }
    }

    /// Returns a blob from the first vault that has it sound.
    pub(crate) fn blob(&self, kind: BlobKind, id: &BlobId) -> Result<Vec<u8>> {
        let mut last = None;
        for vault in self.vaults {
            match vault.blob(kind, id) {
                Ok(plain) => return Ok(plain),
                Err(error) => {
                    let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
                    faults.entry(vault.address()).or_insert_with(|| error.to_string());
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::new("read", Kind::Unsupported("no vault to read from".into()))))
    }

    /// Returns the entries of a directory.
    pub(crate) fn tree(&self, id: &BlobId) -> Result<Vec<Node>> {
        let json = self.blob(BlobKind::Tree, id)?;
        format::tree::read(&json).map_err(|what| Error::damaged(format!("tree {}", id.short()), what))
    }

    /// Returns the length of a blob's plain text, as the index of some vault has it.
    pub(crate) fn plain_length(&self, kind: BlobKind, id: &BlobId) -> Option<u64> {
        self.vaults.iter().find_map(|vault| vault.plain_length(kind, id))
    }

    /// Returns how many calls at a time make the first of them fastest, and never fewer than there are cores.
    pub(crate) fn lanes(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        self.vaults.first().map_or(1, |vault| vault.store().lanes()).max(cores)
    }

    /// Returns for each vault, by address, the first thing that was wrong with it.
    pub(crate) fn into_faults(self) -> BTreeMap<String, String> {
        self.faults.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A store that fails where the test wants it to, for what lies above the stores.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use vault::store::Listed;
use vault::{Error, FileKind, Kind, Result, Store};

/// A call on a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    List,
    /// A whole file or a range of one.
    Read,
    Size,
    Write,
    Remove,
}

/// The faults of one [`FaultyStore`], which the test keeps in its hands. Clones are the same faults.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    plans: Vec<Plan>,
    calls: Vec<(Call, FileKind)>,
    meanwhile: Option<Meanwhile>,
}

/// What somebody else does.
#[derive(Clone)]
struct Meanwhile(Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

#[derive(Debug)]
struct Plan {
    call: Call,
    kind: FileKind,
    skip: usize,
    times: usize,
    effect: Effect,
}

#[derive(Debug, Clone, Copy)]
enum Effect {
    Fail(fn() -> Kind),
    /// What was read has one bit turned; what was listed comes twice.
    Damage,
    /// What was listed comes twice, and the first time a byte shorter.
    Shorten,
}

impl Faults {
    /// The call on files of this kind fails `times` times, after `skip` that pass.
    pub(crate) fn fail(&self, call: Call, kind: FileKind, skip: usize, times: usize, why: fn() -> Kind) {
        self.0.lock().unwrap().plans.push(Plan { call, kind, skip, times, effect: Effect::Fail(why) });
    }

    /// What is read of files of this kind is damaged `times` times, after `skip` reads that pass.
    pub(crate) fn damage(&self, kind: FileKind, skip: usize, times: usize) {
        self.0.lock().unwrap().plans.push(Plan {
            call: Call::Read,
            kind,
            skip,
            times,
            effect: Effect::Damage,
        });
    }

    /// Listings of files of this kind give each name twice, as union mounts and network disks do.
    pub(crate) fn list_twice(&self, kind: FileKind) {
        let (skip, times) = (0, usize::MAX);
        let plan = Plan { call: Call::List, kind, skip, times, effect: Effect::Damage };
        self.0.lock().unwrap().plans.push(plan);
    }

    /// As [`list_twice`](Self::list_twice), and one of the two has another length.
    pub(crate) fn list_shorter(&self, kind: FileKind) {
        let (skip, times) = (0, usize::MAX);
        let plan = Plan { call: Call::List, kind, skip, times, effect: Effect::Shorten };
        self.0.lock().unwrap().plans.push(plan);
    }

    /// Before each call somebody else does this.
    pub(crate) fn meanwhile(&self, work: impl Fn() + Send + Sync + 'static) {
        self.0.lock().unwrap().meanwhile = Some(Meanwhile(Arc::new(work)));
    }

    /// Forgets all plans.
    pub(crate) fn heal(&self) {
        self.0.lock().unwrap().plans.clear();
    }

    /// Returns how often the call was made on files of this kind.
    pub(crate) fn count(&self, call: Call, kind: FileKind) -> usize {
        self.0.lock().unwrap().calls.iter().filter(|made| **made == (call, kind)).count()
    }

    fn meet(&self, call: Call, kind: FileKind) -> Option<Effect> {
        let meanwhile = self.0.lock().unwrap().meanwhile.clone();
        if let Some(Meanwhile(work)) = meanwhile {
            work();
        }
        let mut state = self.0.lock().unwrap();
        state.calls.push((call, kind));
        let plan =
            state.plans.iter_mut().find(|plan| plan.call == call && plan.kind == kind && plan.times > 0)?;
        if plan.skip > 0 {
            plan.skip -= 1;
            return None;
        }
        plan.times -= 1;
        Some(plan.effect)
    }
}

/// A store that behaves like `inner`, except for its faults.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Box<dyn Store>,
    faults: Faults,
}

impl FaultyStore {
    /// Returns `inner`, with these faults.
    pub(crate) fn new(inner: Box<dyn Store>, faults: &Faults) -> Self {
        Self { inner, faults: faults.clone() }
    }

    fn check(&self, call: Call, kind: FileKind) -> Result<bool> {
        Ok(self.effect(call, kind)?.is_some())
    }

    fn effect(&self, call: Call, kind: FileKind) -> Result<Option<Effect>> {
        match self.faults.meet(call, kind) {
            Some(Effect::Fail(why)) => {
                Err(Error::new(format!("{call:?} {kind:?} in {}", self.address()), why()))
            }
            effect => Ok(effect),
        }
    }

    fn read_with(&self, kind: FileKind, read: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let damaged = self.check(Call::Read, kind)?;
        let mut bytes = read()?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle).filter(|_| damaged) {
            *byte ^= 1;
        }
        Ok(bytes)
    }
}

impl Store for FaultyStore {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn create(&self) -> Result<()> {
        self.check(Call::Create, FileKind::Config)?;
        self.inner.create()
    }

    fn entries(&self, kind: FileKind) -> Result<Vec<Listed>> {
        let effect = self.effect(Call::List, kind)?;
        let mut listed = self.inner.entries(kind)?;
        if effect.is_some() {
            let mut twice = listed.clone();
            if matches!(effect, Some(Effect::Shorten)) {
                twice.iter_mut().for_each(|file| file.size -= 1);
            }
            listed.splice(0..0, twice);
        }
        Ok(listed)
    }

    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        self.read_with(kind, || self.inner.read(kind, name))
    }

    fn read_range(&self, kind: FileKind, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.read_with(kind, || self.inner.read_range(kind, name, range))
    }

    fn size(&self, kind: FileKind, name: &str) -> Result<Option<u64>> {
        self.check(Call::Size, kind)?;
        self.inner.size(kind, name)
    }

    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        self.check(Call::Write, kind)?;
        self.inner.write(kind, name, bytes)
    }

    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        self.check(Call::Remove, kind)?;
        self.inner.remove(kind, name)
    }

    fn lanes(&self) -> usize {
        self.inner.lanes()
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }
}

//! A disk that forgets what was not synced, and the store on it: the gateway's own log, with sled
//! replaced by a tree that is as durable as sled is with our sync.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use faultgate::io::store::{
    Batch, Entries, Epoch, Fold, Log, LogFile, Pending, Record, Records, StoreError, Wal,
};

use crate::chance::Chance;

/// Blocks of the disk: a write that was torn is torn between two of them, or inside one.
const BLOCK_BYTES: usize = 512;

/// When the machine loses its power: after so many more things were done.
#[derive(Clone, Debug, Default)]
pub struct Fuse {
    left: Rc<Cell<Option<u32>>>,
    blown: Rc<Cell<bool>>,
}

impl Fuse {
    /// Lets it blow with the thing after `steps` more.
    pub fn light(&self, steps: u32) {
        self.left.set(Some(steps));
    }

    /// Something is about to be done. True when it no longer is.
    pub fn burns(&self) -> bool {
        match self.left.get() {
            Some(0) => self.blown.set(true),
            Some(left) => self.left.set(Some(left - 1)),
            None => {}
        }
        self.blown.get()
    }

    /// True once it has blown.
    pub fn is_blown(&self) -> bool {
        self.blown.get()
    }

    /// True while it is lit.
    pub fn is_lit(&self) -> bool {
        self.left.get().is_some()
    }

    /// Blows it now.
    pub fn blow(&self) {
        self.blown.set(true);
    }

    /// As new.
    pub fn replace(&self) {
        self.left.set(None);
        self.blown.set(false);
    }
}

/// How the machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The process is killed: what it wrote is with the system, and is written.
    Killed,
    /// The power is cut: what was not synced is lost, kept or torn.
    PowerCut,
}

/// What is on the disk.
#[derive(Debug)]
pub struct Disk {
    durable: Vec<u8>,
    /// Written and not synced.
    written: Vec<Write>,
    tree: BTreeMap<Vec<u8>, Vec<u8>>,
    folded: u64,
    folding: Option<Epoch>,
    /// Operations that fail before the disk is well again.
    pub errors_left: u32,
    /// It has refused something since this was last set to false.
    pub has_refused: bool,
    /// Size of a half of the log.
    pub epoch_bytes: usize,
    chance: Chance,
    fuse: Fuse,
    /// What the last write that was not synced held has become, once the disk was cut.
    last_write_kept: bool,
}

/// Something that was written.
#[derive(Debug)]
struct Write {
    at: usize,
    bytes: Vec<u8>,
    /// All that was to be written, and not only what there was space for.
    is_whole: bool,
}

/// The disk, as several parts hold it.
pub type Shared = Rc<RefCell<Disk>>;

impl Disk {
    /// An empty one.
    pub fn new(epoch_bytes: usize, chance: Chance, fuse: Fuse) -> Disk {
        Disk {
            durable: Vec::new(),
            written: Vec::new(),
            tree: BTreeMap::new(),
            folded: 0,
            folding: None,
            errors_left: 0,
            has_refused: false,
            epoch_bytes,
            chance,
            fuse,
            last_write_kept: false,
        }
    }

    /// True when everything that was written is synced.
    pub fn is_synced(&self) -> bool {
        self.written.is_empty()
    }

    /// The machine stops. True when the last write, of which nobody was told that it is durable,
    /// is on the disk as a whole.
    pub fn stop(&mut self, how: Stop) -> bool {
        self.last_write_kept = false;
        for Write { at, bytes, is_whole } in std::mem::take(&mut self.written) {
            let kept = match how {
                Stop::Killed => bytes.len(),
                Stop::PowerCut => self.survives(bytes.len()),
            };
            let all_kept = if kept < bytes.len() && self.chance.percent(50) {
                self.tear(at, &bytes)
            } else {
                self.put(at, bytes.get(..kept).unwrap_or_default());
                kept == bytes.len()
            };
            self.last_write_kept = is_whole && all_kept;
        }
        if let Some((epoch, entries)) = self.folding.take()
            && self.chance.percent(50)
        {
            self.fold(epoch, &entries);
        }
        self.last_write_kept
    }

    fn survives(&mut self, length: usize) -> usize {
        match self.chance.below(4) {
            0 => 0,
            1 => length,
            _ => self.chance.below(length + 1),
        }
    }

    /// Some blocks of a write are there and others are not, in any order. True when all are.
    fn tear(&mut self, at: usize, bytes: &[u8]) -> bool {
        let mut all_kept = true;
        for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
            if self.chance.percent(50) {
                self.put(at + index * BLOCK_BYTES, block);
            } else {
                all_kept = false;
            }
        }
        all_kept
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if self.durable.len() < at + bytes.len() {
            self.durable.resize(at + bytes.len(), 0);
        }
        if let Some(place) = self.durable.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn fold(&mut self, epoch: u64, entries: &Entries) {
        for (key, value) in entries {
            match value {
                Some(value) => self.tree.insert(key.clone(), value.clone()),
                None => self.tree.remove(key),
            };
        }
        self.folded = epoch;
    }

    fn sync(&mut self) {
        for Write { at, bytes, .. } in std::mem::take(&mut self.written) {
            self.put(at, &bytes);
        }
    }

    /// What the operation says before it does anything.
    fn check(&mut self) -> io::Result<()> {
        if self.fuse.burns() {
            return Err(io::Error::other("the power is off"));
        }
        if self.errors_left > 0 {
            self.errors_left -= 1;
            self.has_refused = true;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

/// The file of the log on it.
#[derive(Clone, Debug)]
pub struct SimFile(Shared);

impl LogFile for SimFile {
    fn bytes(&self) -> io::Result<Vec<u8>> {
        Ok(self.0.borrow().durable.clone())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.borrow().durable.len() as u64)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let refused = disk.check();
        if refused.is_err() && !disk.fuse.is_blown() {
            // A write that fails for want of space may have got somewhere.
            let part = disk.survives(bytes.len());
            let is_whole = part == bytes.len();
            let bytes = bytes.get(..part).unwrap_or_default().to_vec();
            disk.written.push(Write { at, bytes, is_whole });
        }
        refused?;
        disk.written.push(Write { at, bytes: bytes.to_vec(), is_whole: true });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.check()?;
        disk.sync();
        Ok(())
    }

    fn clear(&self, bytes: usize) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.check()?;
        disk.written.clear();
        disk.durable = vec![0; bytes];
        Ok(())
    }
}

/// Puts epochs into the tree; how far it has come shows only when somebody looks.
#[derive(Debug)]
pub struct SimFolder {
    disk: Shared,
    pending: RwLock<Pending>,
}

impl SimFolder {
    fn finish(&self) {
        let mut disk = self.disk.borrow_mut();
        if let Some((epoch, entries)) = disk.folding.take() {
            disk.fold(epoch, &entries);
            self.pending().folding = Arc::default();
        }
    }
}

impl Fold for SimFolder {
    fn pending(&self) -> RwLockWriteGuard<'_, Pending> {
        self.pending.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&mut self, epoch: Epoch) {
        self.disk.borrow_mut().folding = Some(epoch);
    }

    fn look(&mut self) {
        if self.disk.borrow_mut().chance.percent(40) {
            self.finish();
        }
    }

    fn wait(&mut self) -> Result<(), StoreError> {
        if self.disk.borrow().folding.is_some() {
            let refused = self.disk.borrow_mut().check();
            refused.map_err(|error| self.failed(&error))?;
        }
        self.finish();
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> StoreError {
        StoreError::Io { dir: PathBuf::from("simulated"), cause: error.to_string() }
    }
}

/// The store on a simulated disk.
#[derive(Debug)]
pub struct SimStore {
    disk: Shared,
    log: RefCell<Log<SimFile, SimFolder>>,
}

impl SimStore {
    /// Opens it as the gateway opens its own.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(disk: &Shared) -> io::Result<SimStore> {
        let (epoch_bytes, folded) = (disk.borrow().epoch_bytes, disk.borrow().folded);
        let (wal, found) = Wal::open(SimFile(Rc::clone(disk)), epoch_bytes, folded)?;
        if !found.is_empty() {
            let mut disk = disk.borrow_mut();
            disk.check()?;
            disk.fold(wal.epoch().saturating_sub(1), &found);
        }
        wal.fill()?;
        let folder = SimFolder { disk: Rc::clone(disk), pending: RwLock::default() };
        Ok(SimStore { disk: Rc::clone(disk), log: RefCell::new(Log::new(wal, folder)) })
    }

    fn merged(&self, prefix: &[u8], from: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let disk = self.disk.borrow();
        let log = self.log.borrow();
        let pending = log.folder().pending();
        let from = from.max(prefix);
        let inside = |key: &[u8]| key.starts_with(prefix);
        let below = disk.tree.range(from.to_vec()..).take_while(|(key, _)| inside(key));
        let mut found: BTreeMap<Vec<u8>, Vec<u8>> =
            below.map(|(key, value)| (key.clone(), value.clone())).collect();
        for (key, value) in pending.range(from, None).into_iter().filter(|(key, _)| inside(key)) {
            match value {
                Some(value) => found.insert(key.to_vec(), value.to_vec()),
                None => found.remove(key),
            };
        }
        found
    }
}

impl Records for SimStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let log = self.log.borrow();
        if let Some(value) = log.folder().pending().get(key) {
            return Ok(value.clone());
        }
        Ok(self.disk.borrow().tree.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], from: &[u8]) -> impl Iterator<Item = Result<Record, StoreError>> {
        self.merged(prefix, from).into_iter().map(Ok)
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<Record>, StoreError> {
        Ok(self.merged(prefix, prefix).pop_last())
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.log.borrow_mut().commit(batch.into_iter().collect())
    }
}

//! One opened database: opening, reading, writing.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use rocksdb::{
    ColumnFamily, DBRawIteratorWithThreadMode, DBWithThreadMode, FlushOptions, ReadOptions, SingleThreaded,
    SnapshotWithThreadMode, WriteBatch, WriteOptions, checkpoint::Checkpoint,
};

use super::{
    CommitError, StoreError,
    committed::CommittedFile,
    family::{self, LogRecovery, META, Rests},
    keys, opening, owner,
    records::{self, Damage, StoreMetaMessage},
};
use crate::{
    bch::Network,
    ledger::{
        Changes, LogId, ReadError, Table,
        tables::{TableChanges, with_tables},
    },
};

/// The version of all that is at rest: families, keys, records. It grows when an older program would misread what a
/// newer one writes.
pub(super) const SCHEMA: u32 = 1;

/// How often a database is tried to be opened for reading while another process writes it.
const READING_TRIES: u32 = 3;

/// RocksDB, with families that are made on opening alone: so reading asks no lock for them.
pub(super) type Rocks = DBWithThreadMode<SingleThreaded>;

/// A moment that RocksDB keeps for reading.
pub(super) type Moment<'a> = SnapshotWithThreadMode<'a, Rocks>;

/// Records of a table with their keys.
pub(super) type Records<T> = Vec<(<T as Table>::Key, <T as Table>::Value)>;

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The network it is for. It is kept in the store; another one is refused.
    pub network: Network,
    /// How much of what was read is kept in memory, in bytes.
    pub cache_bytes: usize,
    /// How much of what was written is kept in memory before it goes into files, in bytes, over all tables.
    pub write_buffer_bytes: usize,
    /// How many files are kept open.
    pub open_files: i32,
    /// Whether a missing store is made.
    pub creation: Creation,
}

impl StoreOptions {
    /// Options for a small machine: 64 MiB to read, 64 MiB to write, 512 files. A missing store is made.
    pub fn new(network: Network) -> Self {
        Self {
            network,
            cache_bytes: 64 << 20,
            write_buffer_bytes: 64 << 20,
            open_files: 512,
            creation: Creation::First,
        }
    }
}

/// Whether a store may be made where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Creation {
    /// A missing store is made.
    #[default]
    First,
    /// A missing store is an error.
    Never,
}

/// One opened database. It closes when it is dropped.
pub(super) struct Database {
    rocks: Rocks,
    path: PathBuf,
    gets: ReadOptions,
    synced: WriteOptions,
    /// Where the number of the last input goes after each commit; none in a database that is open for reading alone.
    committed: Option<CommittedFile>,
}

impl Database {
    /// Opens a store, or creates it where there is none and that is allowed; tells whether it was created.
    pub(super) fn open_or_create(path: &Path, options: &StoreOptions) -> Result<(Self, bool), StoreError> {
        if opening::is_there(path) {
            return Self::open(path, options).map(|database| (database, false));
        }
        if options.creation == Creation::Never {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        owner::may_make(path)?;
        let mut database = opening::read_write(path, options, LogRecovery::Whole, true)?;
        database.keep_committed(0)?;
        database.write_meta(StoreMetaMessage::of(SCHEMA, options.network))?;
        Ok((database, true))
    }

    /// Opens a store that was open before. Where there is none any more, none is created: that would be a store that
    /// forgot everything.
    pub(super) fn reopen(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        if opening::is_there(path) {
            Self::open(path, options)
        } else {
            Err(StoreError::Damaged { path: path.to_owned(), why: "its files are gone".to_owned() })
        }
    }

    /// Opens a store that is there. Nothing is written before every check has passed.
    fn open(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        if path.join("CURRENT").exists() {
            owner::must_own(path)?;
        }
        let inspected = opening::inspect(path, options)?;
        let mut database = opening::read_write(path, options, inspected.recovery, false)?;
        database.keep_committed(inspected.last)?;
        let wanted = StoreMetaMessage::of(SCHEMA, options.network);
        match inspected.meta {
            None => database.write_meta(wanted)?,
            Some(meta) => {
                // Tables of a newer program stay on record.
                let mut families = meta.families.clone();
                families.extend(wanted.families.into_iter().filter(|name| !meta.families.contains(name)));
                // A store of a version before event logs had ids: the log gets its id once.
                let log = meta.log.clone().or(wanted.log);
                let kept = StoreMetaMessage { has_committed: true, families, log, ..meta.clone() };
                if kept != meta {
                    database.write_meta(kept)?;
                }
            }
        }
        Ok(database)
    }

    /// Opens a store for reading alone, as it is at this moment, whoever else has it open.
    pub(super) fn open_for_reading(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        if !opening::is_there(path) {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        // The newest log belongs to the writer, who may be in the middle of a record, and may delete other files before
        // they are read.
        let mut tries = 0;
        let database = loop {
            match opening::read_only(path, options, LogRecovery::UpToDamage) {
                Err(StoreError::Damaged { .. }) if tries < READING_TRIES => tries += 1,
                opened => break opened?,
            }
        };
        match database.read_meta()? {
            Some(meta) => opening::check(&meta, path, options.network)?,
            None => return Err(StoreError::NotAStore { path: path.to_owned() }),
        }
        Ok(database)
    }

    /// A database that RocksDB opened.
    pub(super) fn of(rocks: Rocks, path: &Path, gets: ReadOptions, synced: WriteOptions) -> Self {
        Self { rocks, path: path.to_owned(), gets, synced, committed: None }
    }

    /// The folder of the database.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing was ever written.
    pub(super) fn is_new(&self) -> bool {
        self.rocks.latest_sequence_number() == 0
    }

    /// Whether there is a family of this name.
    pub(super) fn has_family(&self, name: &str) -> bool {
        self.rocks.cf_handle(name).is_some()
    }

    /// Reads the store's record of itself; `None` if the store has no such record.
    pub(super) fn read_meta(&self) -> Result<Option<StoreMetaMessage>, StoreError> {
        opening::read_meta(&self.rocks, &self.path)
    }

    /// From now on each commit notes its last input in the file `committed`, which is made with the number `last` where
    /// there is none.
    fn keep_committed(&mut self, last: u64) -> Result<(), StoreError> {
        let file = CommittedFile::open_or_make(&self.path, last);
        self.committed = Some(file.map_err(|error| StoreError::of_file(&self.path, &error))?);
        Ok(())
    }

    /// The id of the event log.
    pub(super) fn log(&self) -> Result<LogId, ReadError> {
        let trouble = |why: String| ReadError(format!("the id of the event log: {why}"));
        let meta = self.read_meta().map_err(|error| trouble(error.to_string()))?;
        let log = meta.and_then(|meta| meta.log_id().transpose()).transpose();
        log.map_err(|damage| trouble(damage.to_string()))?.ok_or_else(|| trouble("there is none".to_owned()))
    }

    /// Makes the store look as versions made it that gave no ids to event logs.
    #[cfg(test)]
    pub(super) fn forget_log(&self) -> Result<(), StoreError> {
        let meta = self.read_meta()?.unwrap_or_default();
        self.write_meta(StoreMetaMessage { log: None, ..meta })
    }

    /// Writes what the store says about itself.
    pub(super) fn write_meta(&self, meta: StoreMetaMessage) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        records::encode(&meta, &mut bytes);
        let family = self.rocks.cf_handle(META).ok_or(StoreError::NotAStore { path: self.path.clone() })?;
        self.rocks
            .put_cf_opt(family, keys::STORE_META, bytes, &self.synced)
            .map_err(|error| StoreError::of(&self.path, &error))
    }

    /// The record of a key.
    pub(super) fn get<T: Rests>(&self, key: &T::Key) -> Result<Option<T::Value>, ReadError> {
        self.get_with::<T>(key, &self.gets)
    }

    /// The record of a key, read in some way.
    pub(super) fn get_with<T: Rests>(
        &self,
        key: &T::Key,
        options: &ReadOptions,
    ) -> Result<Option<T::Value>, ReadError> {
        let key = keys::encode(key);
        let bytes = self
            .rocks
            .get_pinned_cf_opt(self.family::<T>()?, &key, options)
            .map_err(|error| unreadable::<T>(&error))?;
        bytes.map(|bytes| records::decode(&bytes).map_err(|damage| damaged::<T>(&key, &damage))).transpose()
    }

    /// Up to `limit` records of a range of keys, in order, read in some way.
    pub(super) fn range<T: Rests>(
        &self,
        keys: &RangeInclusive<T::Key>,
        limit: usize,
        mut options: ReadOptions,
    ) -> Result<Records<T>, ReadError> {
        if limit == 0 || keys.start() > keys.end() {
            return Ok(Vec::new());
        }
        options.set_iterate_upper_bound(keys::just_above(keys.end()));
        let mut at = self.rocks.raw_iterator_cf_opt(self.family::<T>()?, options);
        at.seek(keys::encode(keys.start()));
        collect::<T>(at, limit, Step::Next)
    }

    /// Up to `limit` records of the end of a range of keys, the last first, read in some way.
    pub(super) fn last<T: Rests>(
        &self,
        keys: &RangeInclusive<T::Key>,
        limit: usize,
        mut options: ReadOptions,
    ) -> Result<Records<T>, ReadError> {
        if limit == 0 || keys.start() > keys.end() {
            return Ok(Vec::new());
        }
        options.set_iterate_lower_bound(keys::encode(keys.start()));
        let mut at = self.rocks.raw_iterator_cf_opt(self.family::<T>()?, options);
        at.seek_for_prev(keys::encode(keys.end()));
        collect::<T>(at, limit, Step::Previous)
    }

    /// The database as it is now, for as long as this is held.
    pub(super) fn moment(&self) -> Moment<'_> {
        self.rocks.snapshot()
    }

    /// The records that changes would change, as they are: written down they undo the changes.
    pub(super) fn before(&self, changes: &Changes) -> Result<Changes, ReadError> {
        let mut before = Changes::default();
        macro_rules! look_up_tables {
            ($($(#[$doc:meta])* $table:ident, $field:ident: $key:ty => $value:ty;)*) => {$(
                for key in changes.$field.keys() {
                    before.$field.insert(key.clone(), self.get::<crate::ledger::tables::$table>(key)?);
                }
            )*};
        }
        with_tables!(look_up_tables);
        Ok(before)
    }

    /// Writes changes in one write, has it synced, and notes its last input in the file `committed`.
    pub(super) fn commit(&self, changes: &Changes) -> Result<(), CommitError> {
        let mut batch =
            Batch { database: self, writes: WriteBatch::default(), key: Vec::new(), value: Vec::new() };
        macro_rules! put_tables {
            ($($(#[$doc:meta])* $table:ident, $field:ident: $key:ty => $value:ty;)*) => {
                $(batch.put::<crate::ledger::tables::$table>(&changes.$field)?;)*
            };
        }
        with_tables!(put_tables);
        if batch.writes.is_empty() {
            return Ok(());
        }
        self.rocks.write_opt(batch.writes, &self.synced).map_err(|error| CommitError::of_write(&error))?;
        if let (Some(committed), Some(Some(counters))) = (&self.committed, changes.counters.get(&())) {
            committed.note(counters.order.0);
        }
        Ok(())
    }

    /// Puts everything into files, so that the next opening has no log to read.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let families: Vec<&ColumnFamily> =
            family::names().filter_map(|name| self.rocks.cf_handle(name)).collect();
        self.rocks
            .flush_cfs_opt(&families, &FlushOptions::default())
            .map_err(|error| StoreError::of(&self.path, &error))
    }

    /// Copies the database as it is into a directory that is not there yet; on the same disk by links. The copy has a
    /// file `committed` of its own.
    pub(super) fn checkpoint(&self, to: &Path) -> Result<(), StoreError> {
        // Read before the copy is made: the copy has this input for certain, and perhaps later ones.
        let last = opening::last_input(self)?.order.0;
        Checkpoint::new(&self.rocks)
            .and_then(|checkpoint| checkpoint.create_checkpoint(to))
            .map_err(|error| StoreError::of(to, &error))?;
        CommittedFile::open_or_make(to, last).map(|_| ()).map_err(|error| StoreError::of_file(to, &error))
    }

    #[cfg(test)]
    pub(super) fn rocks(&self) -> &Rocks {
        &self.rocks
    }

    fn family<T: Rests>(&self) -> Result<&ColumnFamily, ReadError> {
        self.rocks
            .cf_handle(T::FAMILY)
            .ok_or_else(|| ReadError(format!("there is no column family `{}`", T::FAMILY)))
    }
}

/// A write in the making.
struct Batch<'a> {
    database: &'a Database,
    writes: WriteBatch,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Batch<'_> {
    fn put<T: Rests>(&mut self, changes: &TableChanges<T>) -> Result<(), CommitError> {
        if changes.is_empty() {
            return Ok(());
        }
        let family = self.database.family::<T>().map_err(|error| CommitError::Disk(error.0))?;
        for (key, value) in changes {
            self.key.clear();
            keys::Key::put(key, &mut self.key);
            match value {
                Some(value) => {
                    self.value.clear();
                    records::encode(value, &mut self.value);
                    self.writes.put_cf(family, &self.key, &self.value);
                }
                None => self.writes.delete_cf(family, &self.key),
            }
        }
        Ok(())
    }
}

fn unreadable<T: Rests>(error: &rocksdb::Error) -> ReadError {
    ReadError(format!("`{}`: {error}", T::FAMILY))
}

/// The direction in which a range of keys is read.
#[derive(Clone, Copy)]
enum Step {
    /// Upwards.
    Next,
    /// Downwards.
    Previous,
}

/// Up to `limit` records from where an iterator stands to its bound.
fn collect<T: Rests>(
    mut at: DBRawIteratorWithThreadMode<'_, Rocks>,
    limit: usize,
    step: Step,
) -> Result<Records<T>, ReadError> {
    let mut found = Vec::new();
    while let Some((key, value)) = at.item() {
        let record = records::decode(value).map_err(|damage| damaged::<T>(key, &damage))?;
        let key = keys::decode(key).ok_or_else(|| damaged::<T>(key, &Damage::Key))?;
        found.push((key, record));
        if found.len() == limit {
            return Ok(found);
        }
        match step {
            Step::Next => at.next(),
            Step::Previous => at.prev(),
        }
    }
    // An iterator that ends says nothing of why.
    at.status().map_err(|error| unreadable::<T>(&error))?;
    Ok(found)
}

fn damaged<T: Rests>(key: &[u8], damage: &Damage) -> ReadError {
    ReadError(format!("`{}`, key {}: {damage}", T::FAMILY, hex::encode(key)))
}

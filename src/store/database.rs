//! One opened database: the checks on opening, reading, writing.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use rocksdb::{
    Cache, ColumnFamily, ColumnFamilyDescriptor, DBWithThreadMode, FlushOptions, Options, ReadOptions,
    SingleThreaded, SnapshotWithThreadMode, WriteBatch, WriteOptions, checkpoint::Checkpoint,
};

use super::{
    CommitError, StoreError,
    family::{self, META, Rests},
    keys,
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
}

impl StoreOptions {
    /// What suits a small machine: 64 MiB to read, 64 MiB to write, 512 files.
    pub fn new(network: Network) -> Self {
        Self { network, cache_bytes: 64 << 20, write_buffer_bytes: 64 << 20, open_files: 512 }
    }
}

/// One opened database. It closes when it is dropped.
pub(super) struct Database {
    rocks: Rocks,
    path: PathBuf,
    gets: ReadOptions,
    synced: WriteOptions,
}

impl Database {
    /// Opens a store, or creates it where nothing is.
    pub(super) fn open_or_create(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let (database, meta) = Self::open(path, options, !Self::is_there(path))?;
        match meta {
            None => database.write_meta(SCHEMA, options.network)?,
            // A store of a version before event logs had ids: the log gets its id once.
            Some(meta) if meta.log.is_none() => database
                .put_meta(&StoreMetaMessage { log: Some(LogId::random().as_bytes().to_vec()), ..meta })?,
            Some(_) => {}
        }
        Ok(database)
    }

    /// Opens a store that was open before. Where nothing is any more, nothing is created: that would be a store that
    /// forgot everything.
    pub(super) fn reopen(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        match Self::open(path, options, false)? {
            (database, Some(_)) => Ok(database),
            (_, None) => {
                Err(StoreError::Damaged { path: path.to_owned(), why: "its files are gone".to_owned() })
            }
        }
    }

    /// Opens a store for reading alone, as it is at this moment, whoever else has it open.
    pub(super) fn open_for_reading(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let trouble = |error: rocksdb::Error| StoreError::of(path, &error);
        let there = Rocks::list_cf(&Options::default(), path).map_err(trouble)?;
        if !there.iter().any(|name| name == META) {
            return Err(StoreError::NotAStore { path: path.to_owned() });
        }
        let cache = Cache::new_hyper_clock_cache(options.cache_bytes, 0);
        let families =
            there.iter().map(|name| ColumnFamilyDescriptor::new(name, family::family_options(name, &cache)));
        let setup = family::database_options(options);
        // Its log is the other one's, and may be written while it is read.
        let rocks = Rocks::open_cf_descriptors_read_only(&setup, path, families, false).map_err(trouble)?;
        match read_meta(&rocks, path)? {
            Some(meta) => check(&meta, path, options.network)?,
            None => return Err(StoreError::NotAStore { path: path.to_owned() }),
        }
        let (gets, synced) = (ReadOptions::default(), WriteOptions::default());
        Ok(Self { rocks, path: path.to_owned(), gets, synced })
    }

    /// Whether there is a database at all.
    pub(super) fn is_there(path: &Path) -> bool {
        path.join("CURRENT").exists()
    }

    /// Opens a database, and gives what it says of itself if it is a store.
    fn open(
        path: &Path,
        options: &StoreOptions,
        create: bool,
    ) -> Result<(Self, Option<StoreMetaMessage>), StoreError> {
        let trouble = |error: rocksdb::Error| StoreError::of(path, &error);
        let ours: BTreeSet<&str> = family::names().collect();
        // RocksDB wants every family that is there to be named.
        let there: BTreeSet<String> = if create {
            BTreeSet::new()
        } else {
            Rocks::list_cf(&Options::default(), path).map_err(trouble)?.into_iter().collect()
        };
        let foreign = |name: &String| name != "default" && !ours.contains(name.as_str());
        if !there.contains(META) && there.iter().any(foreign) {
            return Err(StoreError::NotAStore { path: path.to_owned() });
        }

        let mut setup = family::database_options(options);
        setup.create_if_missing(create);
        setup.create_missing_column_families(create);
        // One cache for all; RocksDB finds the charge of its entries by itself.
        let cache = Cache::new_hyper_clock_cache(options.cache_bytes, 0);
        let names: BTreeSet<&str> = if create {
            ours.iter().copied().chain(["default"]).collect()
        } else {
            there.iter().map(String::as_str).collect()
        };
        let families =
            names.iter().map(|name| ColumnFamilyDescriptor::new(*name, family::family_options(name, &cache)));
        let mut rocks = Rocks::open_cf_descriptors(&setup, path, families).map_err(trouble)?;

        let meta = read_meta(&rocks, path)?;
        match &meta {
            Some(meta) => check(meta, path, options.network)?,
            // Just created, or by a program that was stopped while it did: nothing was ever written.
            None if rocks.latest_sequence_number() == 0 => {}
            None => return Err(StoreError::NotAStore { path: path.to_owned() }),
        }
        for name in ours.iter().filter(|name| !names.contains(*name)) {
            rocks.create_cf(name, &family::family_options(name, &cache)).map_err(trouble)?;
        }
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        let gets = ReadOptions::default();
        Ok((Self { rocks, path: path.to_owned(), gets, synced }, meta))
    }

    /// Writes what a new store says about itself, the id of its event log included.
    pub(super) fn write_meta(&self, schema: u32, network: Network) -> Result<(), StoreError> {
        self.put_meta(&StoreMetaMessage {
            schema,
            network: network.name().to_owned(),
            created_by: env!("CARGO_PKG_VERSION").to_owned(),
            log: Some(LogId::random().as_bytes().to_vec()),
        })
    }

    /// The id of the event log.
    pub(super) fn log(&self) -> Result<LogId, ReadError> {
        let trouble = |why: String| ReadError(format!("the id of the event log: {why}"));
        let meta = read_meta(&self.rocks, &self.path).map_err(|error| trouble(error.to_string()))?;
        let log = meta.and_then(|meta| meta.log_id().transpose()).transpose();
        log.map_err(|damage| trouble(damage.to_string()))?.ok_or_else(|| trouble("there is none".to_owned()))
    }

    /// Makes the store look as versions made it that gave no ids to event logs.
    #[cfg(test)]
    pub(super) fn forget_log(&self) -> Result<(), StoreError> {
        let meta = read_meta(&self.rocks, &self.path)?.unwrap_or_default();
        self.put_meta(&StoreMetaMessage { log: None, ..meta })
    }

    fn put_meta(&self, meta: &StoreMetaMessage) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        records::encode(meta, &mut bytes);
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
        let mut found = Vec::new();
        while let Some((key, value)) = at.item() {
            let record = records::decode(value).map_err(|damage| damaged::<T>(key, &damage))?;
            let key = keys::decode(key).ok_or_else(|| damaged::<T>(key, &Damage::Key))?;
            found.push((key, record));
            if found.len() == limit {
                return Ok(found);
            }
            at.next();
        }
        // An iterator that ends says nothing of why.
        at.status().map_err(|error| unreadable::<T>(&error))?;
        Ok(found)
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
        let mut found = Vec::new();
        while let Some((key, value)) = at.item() {
            let record = records::decode(value).map_err(|damage| damaged::<T>(key, &damage))?;
            let key = keys::decode(key).ok_or_else(|| damaged::<T>(key, &Damage::Key))?;
            found.push((key, record));
            if found.len() == limit {
                return Ok(found);
            }
            at.prev();
        }
        at.status().map_err(|error| unreadable::<T>(&error))?;
        Ok(found)
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

    /// Writes changes in one write, and has it synced.
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
        self.rocks.write_opt(batch.writes, &self.synced).map_err(|error| CommitError::of_write(&error))
    }

    /// Puts everything into files, so that the next opening has no log to read.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let families: Vec<&ColumnFamily> =
            family::names().filter_map(|name| self.rocks.cf_handle(name)).collect();
        self.rocks
            .flush_cfs_opt(&families, &FlushOptions::default())
            .map_err(|error| StoreError::of(&self.path, &error))
    }

    /// Copies the database as it is into a directory that is not there yet; on the same disk by links.
    pub(super) fn checkpoint(&self, to: &Path) -> Result<(), StoreError> {
        Checkpoint::new(&self.rocks)
            .and_then(|checkpoint| checkpoint.create_checkpoint(to))
            .map_err(|error| StoreError::of(to, &error))
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

fn read_meta(rocks: &Rocks, path: &Path) -> Result<Option<StoreMetaMessage>, StoreError> {
    let Some(family) = rocks.cf_handle(META) else { return Ok(None) };
    let bytes = rocks.get_cf(family, keys::STORE_META).map_err(|error| StoreError::of(path, &error))?;
    let meta = bytes.map(|bytes| records::decode(&bytes)).transpose();
    meta.map_err(|damage| StoreError::Damaged { path: path.to_owned(), why: damage.to_string() })
}

fn check(meta: &StoreMetaMessage, path: &Path, network: Network) -> Result<(), StoreError> {
    let path = path.to_owned();
    if meta.schema > SCHEMA {
        let created_by = meta.created_by.clone();
        return Err(StoreError::NewerSchema { path, theirs: meta.schema, ours: SCHEMA, created_by });
    }
    if meta.schema < SCHEMA {
        return Err(StoreError::Damaged { path, why: format!("there never was a layout {}", meta.schema) });
    }
    if meta.network != network.name() {
        return Err(StoreError::OtherNetwork { path, theirs: meta.network.clone(), ours: network });
    }
    Ok(())
}

fn unreadable<T: Rests>(error: &rocksdb::Error) -> ReadError {
    ReadError(format!("`{}`: {error}", T::FAMILY))
}

fn damaged<T: Rests>(key: &[u8], damage: &Damage) -> ReadError {
    ReadError(format!("`{}`, key {}: {damage}", T::FAMILY, hex::encode(key)))
}

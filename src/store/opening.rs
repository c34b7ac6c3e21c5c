//! The checks before a store is opened for writing. They write nothing: a store that is refused stays as it is.
//!
//! RocksDB flushes what it reads from its logs and deletes them while it opens for writing, so a loss must be found
//! before that. A store is first opened for reading, with the logs as strict as RocksDB can be, and its last input is
//! compared with the file `committed`:
//!
//! - Every log is whole, and the last input is no older than `committed`: the store is sound.
//! - The newest log ends in a damaged record, and the last input before the damage is no older than `committed`: the
//!   program or the machine stopped in the middle of a write that nobody was answered for.
//! - Anything else is a loss, and the store is refused.

use std::{collections::BTreeSet, fs, path::Path};

use rocksdb::{Cache, ColumnFamilyDescriptor, Options, ReadOptions, WriteOptions};

use super::{
    StoreError, committed,
    database::{Database, Rocks, SCHEMA, StoreOptions},
    family::{self, LogRecovery, META},
    keys,
    records::{self, StoreMetaMessage},
};
use crate::{
    bch::Network,
    ledger::tables::{Counters, Meta},
};

/// Findings of an inspection of a store that may be opened.
pub(super) struct Inspected {
    /// The store's record of itself; `None` if the store was left half made.
    pub(super) meta: Option<StoreMetaMessage>,
    /// The number of the last input that can be read.
    pub(super) last: u64,
    /// How the logs are to be read.
    pub(super) recovery: LogRecovery,
}

/// Whether there is a database in a folder, or what remains of one.
pub(super) fn is_there(path: &Path) -> bool {
    if path.join("CURRENT").exists() {
        return true;
    }
    let Ok(entries) = fs::read_dir(path) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let extension = Path::new(&name).extension();
        name == committed::FILE || extension.is_some_and(|extension| extension == "sst" || extension == "log")
    })
}

/// Looks whether a store may be opened for writing, and how, without a change to its files.
///
/// # Errors
///
/// [`StoreError`]: why it is refused.
pub(super) fn inspect(path: &Path, options: &StoreOptions) -> Result<Inspected, StoreError> {
    inspect_alone(path, options).map_err(|error| {
        // A writer changes the files while they are inspected: then nothing that was found means anything.
        if is_held(path) { StoreError::Held { path: path.to_owned() } } else { error }
    })
}

fn inspect_alone(path: &Path, options: &StoreOptions) -> Result<Inspected, StoreError> {
    if !path.join("CURRENT").exists() {
        let why = "the file `CURRENT` is missing, and other files of a database are there".to_owned();
        return Err(StoreError::Damaged { path: path.to_owned(), why });
    }
    let (database, recovery, damage) = match read_only(path, options, LogRecovery::Whole) {
        Ok(database) => (database, LogRecovery::Whole, None),
        Err(StoreError::Damaged { why, path: at }) => {
            match read_only(path, options, LogRecovery::UpToDamage) {
                Ok(database) => (database, LogRecovery::UpToDamage, Some(why)),
                Err(_) => return Err(StoreError::Damaged { path: at, why }),
            }
        }
        Err(error) => return Err(error),
    };
    let meta = database.read_meta()?;
    match &meta {
        Some(meta) => check(meta, path, options.network)?,
        // Just created, or by a program that was stopped while it created it: nothing was ever written.
        None if database.is_new() => {}
        None if committed::read(path)?.is_some() => {
            let why = "the record of what it is cannot be found".to_owned();
            return Err(StoreError::Damaged { path: path.to_owned(), why });
        }
        None => return Err(StoreError::NotAStore { path: path.to_owned() }),
    }
    if let Some(meta) = &meta {
        let missing = meta.families.iter().find(|name| !database.has_family(name));
        if let Some(name) = missing {
            let why = format!("its MANIFEST does not have the table `{name}`");
            return Err(StoreError::Damaged { path: path.to_owned(), why });
        }
    }
    // A store that was left half made has no counters, and not even their table.
    let last = if meta.is_some() { last_input(&database)?.order.0 } else { 0 };
    match committed::read(path)? {
        Some(committed) if last < committed => {
            Err(StoreError::Lost { path: path.to_owned(), readable: last, committed })
        }
        None if meta.as_ref().is_some_and(|meta| meta.has_committed) => {
            let why = format!(
                "the file `{}` is missing, so that nobody can tell whether inputs are lost",
                committed::FILE
            );
            Err(StoreError::Damaged { path: path.to_owned(), why })
        }
        Some(_) | None => {
            if let Some(why) = damage {
                tracing::warn!(
                    %why,
                    last,
                    "the newest log of the store ends in an unfinished write, which nobody was answered for; it is \
                     dropped"
                );
            }
            Ok(Inspected { meta, last, recovery })
        }
    }
}

/// The counters of a store as they were after its last input.
pub(super) fn last_input(database: &Database) -> Result<Meta, StoreError> {
    database
        .get::<Counters>(&())
        .map(Option::unwrap_or_default)
        .map_err(|error| StoreError::Damaged { path: database.path().to_owned(), why: error.0 })
}

/// Opens the database of a folder for reading alone, whoever else has it open.
///
/// # Errors
///
/// [`StoreError`]: there is none, or the logs are not as `recovery` wants them.
pub(super) fn read_only(
    path: &Path,
    options: &StoreOptions,
    recovery: LogRecovery,
) -> Result<Database, StoreError> {
    let trouble = |error: rocksdb::Error| {
        let error = StoreError::of(path, &error);
        if let StoreError::Disk { path, why } = &error
            && why.contains("No such file or directory")
        {
            // A file that the MANIFEST names, or the MANIFEST itself.
            return StoreError::Damaged { path: path.clone(), why: why.clone() };
        }
        error
    };
    let there: BTreeSet<String> =
        Rocks::list_cf(&Options::default(), path).map_err(trouble)?.into_iter().collect();
    must_be_ours(path, &there)?;
    let cache = Cache::new_hyper_clock_cache(options.cache_bytes, 0);
    let families =
        there.iter().map(|name| ColumnFamilyDescriptor::new(name, family::family_options(name, &cache)));
    let setup = family::database_options(options, recovery);
    // A log that is there is read, not refused.
    let rocks = Rocks::open_cf_descriptors_read_only(&setup, path, families, false).map_err(trouble)?;
    Ok(Database::of(rocks, path, ReadOptions::default(), WriteOptions::default()))
}

/// Opens a database for writing, and makes the tables that it does not have yet.
pub(super) fn read_write(
    path: &Path,
    options: &StoreOptions,
    recovery: LogRecovery,
    create: bool,
) -> Result<Database, StoreError> {
    let trouble = |error: rocksdb::Error| StoreError::of(path, &error);
    let ours: BTreeSet<&str> = family::names().collect();
    // RocksDB wants every family that is there to be named.
    let there: BTreeSet<String> = if create {
        ours.iter().copied().chain(["default"]).map(str::to_owned).collect()
    } else {
        Rocks::list_cf(&Options::default(), path).map_err(trouble)?.into_iter().collect()
    };
    let mut setup = family::database_options(options, recovery);
    setup.create_if_missing(create);
    setup.create_missing_column_families(create);
    // Of these checks the inspection has made those that concern the opening. Later they would stop every write as soon as
    // a compaction meets one damaged block, and again after each reopening.
    setup.set_paranoid_checks(recovery != LogRecovery::Whole);
    // One cache for all; RocksDB finds the charge of its entries by itself.
    let cache = Cache::new_hyper_clock_cache(options.cache_bytes, 0);
    let families =
        there.iter().map(|name| ColumnFamilyDescriptor::new(name, family::family_options(name, &cache)));
    let mut rocks = Rocks::open_cf_descriptors(&setup, path, families).map_err(trouble)?;
    for name in ours.iter().filter(|name| !there.contains(**name)) {
        rocks.create_cf(name, &family::family_options(name, &cache)).map_err(trouble)?;
    }
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    Ok(Database::of(rocks, path, ReadOptions::default(), synced))
}

/// Whether another process, or another part of this one, has the database open for writing.
pub(super) fn is_held(path: &Path) -> bool {
    let mut setup = Options::default();
    // RocksDB takes its lock first and then refuses a database that is there, before it reads or writes anything of it.
    setup.set_error_if_exists(true);
    match Rocks::open(&setup, path) {
        Ok(_) => false,
        Err(error) => matches!(StoreError::of(path, &error), StoreError::Held { .. }),
    }
}

/// Refuses a database that has no table of this program and others that this program does not know.
fn must_be_ours(path: &Path, there: &BTreeSet<String>) -> Result<(), StoreError> {
    let ours: BTreeSet<&str> = family::names().collect();
    let foreign = |name: &String| name != "default" && !ours.contains(name.as_str());
    if !there.contains(META) && there.iter().any(foreign) {
        return Err(StoreError::NotAStore { path: path.to_owned() });
    }
    Ok(())
}

/// Refuses a store of another network, and one whose layout this program does not know.
pub(super) fn check(meta: &StoreMetaMessage, path: &Path, network: Network) -> Result<(), StoreError> {
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

/// Reads a store's record of itself; `None` if the store has no such record.
pub(super) fn read_meta(rocks: &Rocks, path: &Path) -> Result<Option<StoreMetaMessage>, StoreError> {
    let Some(family) = rocks.cf_handle(META) else { return Ok(None) };
    let bytes = rocks.get_cf(family, keys::STORE_META).map_err(|error| StoreError::of(path, &error))?;
    let meta = bytes.map(|bytes| records::decode(&bytes)).transpose();
    meta.map_err(|damage| StoreError::Damaged { path: path.to_owned(), why: damage.to_string() })
}

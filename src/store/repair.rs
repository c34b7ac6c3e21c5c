//! The repair of a store whose logs are damaged, or whose file `committed` is missing: first what would be lost, then,
//! with the operator's consent, the repair itself. Tables that are damaged are not repaired: a copy must be put back.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{
    StoreError, StoreOptions, committed, database::SCHEMA, family::LogRecovery, opening, owner,
    records::StoreMetaMessage,
};
use crate::{invoice::Timestamp, ledger::tables::Meta};

/// The folder in which a repair is rehearsed, inside the folder of the store.
const SCRATCH: &str = "repair.tmp";

/// Result of an examination of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Examination {
    /// The daemon opens the store as it is, and no input is lost that anybody was answered for.
    Sound,
    /// The daemon refuses the store. A repair goes on from what can be read.
    Loss(Loss),
}

/// Point from which a repair continues, and the inputs and events that the repair gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why the store is refused.
    pub why: String,
    /// The number of the last input that can be read.
    pub readable: u64,
    /// The number of the last input that was answered; `None` where the file `committed` does not tell.
    pub committed: Option<u64>,
    /// The time that the clock showed at the last input that can be read; `None` where no input tells.
    pub until: Option<Timestamp>,
    /// The number of the last event that can be read. The numbers after it are given again.
    pub event: u64,
    /// The number of a closed log that is missing or cut; `None` where RocksDB finds the damage by itself.
    broken_log: Option<u64>,
}

/// Finds out what a repair of a store would give up, by a rehearsal on a copy. The store itself is not changed. The daemon
/// must not run.
///
/// # Errors
///
/// [`StoreError`]: there is no store, there is no room for the copy, another process has it open, or it is refused for a reason that a repair does not
/// mend.
pub(super) fn examine(path: &Path, options: &StoreOptions) -> Result<Examination, StoreError> {
    if !opening::is_there(path) {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    if opening::is_held(path) {
        return Err(StoreError::Held { path: path.to_owned() });
    }
    let refused = match opening::inspect(path, options) {
        Ok(_) => return Ok(Examination::Sound),
        Err(refused @ (StoreError::Lost { .. } | StoreError::Damaged { .. })) => refused,
        Err(other) => return Err(other),
    };
    let why = if let StoreError::Damaged { why, .. } = &refused {
        why.clone()
    } else {
        "inputs that were answered are missing from the logs".to_owned()
    };
    // RocksDB words it so when a log is not as the MANIFEST knows it.
    let broken_log = number_after(&why, "log number: ");
    // If even the rehearsal cannot open the copy, the store is damaged elsewhere, or its tables are newer than the
    // damaged log: then the repair has no earlier state to go back to.
    let counters = rehearse(path, options, broken_log).map_err(|error| {
        if matches!(error, StoreError::Damaged { .. } | StoreError::NotAStore { .. }) {
            refused
        } else {
            error
        }
    })?;
    Ok(Examination::Loss(Loss {
        why,
        readable: counters.order.0,
        committed: committed::read(path).ok().flatten(),
        until: counters.wall,
        event: counters.seq,
        broken_log,
    }))
}

/// Makes a store fit to be opened again, from what can be read. First the logs, the MANIFEST and `committed` are copied
/// into a new folder inside the store; gives that folder.
///
/// # Errors
///
/// [`StoreError`]. Until the copies are complete nothing is changed.
pub(super) fn repair(path: &Path, options: &StoreOptions, loss: &Loss) -> Result<PathBuf, StoreError> {
    owner::must_own(path)?;
    if opening::is_held(path) {
        return Err(StoreError::Held { path: path.to_owned() });
    }
    let of_file = |error: io::Error| StoreError::of_file(path, &error);
    let aside = copy_aside(path).map_err(of_file)?;
    end_history(path, loss.broken_log).map_err(of_file)?;
    let database = opening::read_write(path, options, LogRecovery::WhateverIsThere, false)?;
    let created_by = database.read_meta()?.map(|meta| meta.created_by);
    let last = opening::last_input(&database)?.order.0;
    committed::replace(path, last).map_err(of_file)?;
    // With a new id for the event log: the numbers of the lost events are given again.
    let meta = StoreMetaMessage::of(SCHEMA, options.network);
    database.write_meta(StoreMetaMessage { created_by: created_by.unwrap_or_default(), ..meta })?;
    database.flush()?;
    Ok(aside)
}

/// Opens a copy of a store as the repair would, and gives the counters that it finds. The copy
/// is made of links to the tables and of copies of everything else, and is removed afterwards.
fn rehearse(path: &Path, options: &StoreOptions, broken_log: Option<u64>) -> Result<Meta, StoreError> {
    let scratch = path.join(SCRATCH);
    let of_file = |error: io::Error| StoreError::of_file(path, &error);
    let copied = copy_for_rehearsal(path, &scratch).and_then(|()| end_history(&scratch, broken_log));
    let found = copied.map_err(of_file).and_then(|()| {
        let database = opening::read_write(&scratch, options, LogRecovery::WhateverIsThere, false)?;
        match database.read_meta()? {
            Some(meta) => opening::check(&meta, path, options.network)?,
            None if database.is_new() => {}
            None => return Err(StoreError::NotAStore { path: path.to_owned() }),
        }
        opening::last_input(&database)
    });
    let removed = fs::remove_dir_all(&scratch).map_err(of_file);
    found.and_then(|found| removed.map(|()| found))
}

fn copy_for_rehearsal(path: &Path, scratch: &Path) -> io::Result<()> {
    if scratch.exists() {
        fs::remove_dir_all(scratch)?;
    }
    fs::create_dir(scratch)?;
    for file in files(path)? {
        let Some(name) = file.file_name() else { continue };
        if name == "LOCK" {
            continue;
        }
        let copy = scratch.join(name);
        // RocksDB never writes into a table again. On a file system without links it is copied as well.
        if !is_table(&file) || fs::hard_link(&file, &copy).is_err() {
            fs::copy(&file, &copy)?;
        }
    }
    Ok(())
}

/// Copies everything but the tables into a new folder `before-repair-N` inside the store, and syncs it.
fn copy_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = (1..u32::MAX)
        .map(|number| path.join(format!("before-repair-{number}")))
        .find(|folder| !folder.exists())
        .ok_or_else(|| io::Error::other("every name of a folder is taken"))?;
    fs::create_dir(&aside)?;
    for file in files(path)? {
        let Some(name) = file.file_name() else { continue };
        if is_table(&file) || name == "LOCK" {
            continue;
        }
        let copy = aside.join(name);
        fs::copy(&file, &copy)?;
        File::open(&copy)?.sync_all()?;
    }
    File::open(&aside)?.sync_all()?;
    File::open(path)?.sync_all()?;
    Ok(aside)
}

/// Ends the history with a log that is missing or cut, by a record that is none: RocksDB reads nothing after it, and refuses
/// where a table has more than that.
fn end_history(path: &Path, broken_log: Option<u64>) -> io::Result<()> {
    let Some(number) = broken_log else { return Ok(()) };
    let mut log = File::options().create(true).append(true).open(path.join(format!("{number:06}.log")))?;
    // Wherever a block of the log begins in it: a record of 257 bytes whose checksum is wrong.
    log.write_all(&[1; 1024])?;
    log.sync_all()
}

fn is_table(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "sst")
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// The number that follows some words in what RocksDB said.
fn number_after(text: &str, words: &str) -> Option<u64> {
    let (_, rest) = text.split_once(words)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

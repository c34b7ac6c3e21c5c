//! Damage of every file of a store in every way: it is refused, or named when it is read, and never silent.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
};

use tempfile::TempDir;

use super::{copy, open};
use crate::{
    bch::Network,
    invoice::{InvoiceId, Merchant, Order},
    ledger::{
        Changes, ReadError, Reads,
        tables::{Chain, Counters, Idempotency, IdempotencyRecord, Meta},
    },
    store::{Examination, Loss, Store, StoreError, StoreOptions, family},
};

/// How many inputs the store of these tests has.
const INPUTS: u32 = 30;

/// The last inputs that are in tables, in the closed log, and in the newest log.
const FLUSHED: u32 = 10;
const CLOSED: u32 = 20;

/// Content of a store: the heights of its chain, the number of its idempotency keys, and its counters.
type Content = (Vec<u32>, usize, Option<Meta>);

/// One input, as the ledger makes them: records of several tables, and the counters.
fn input(number: u32) -> Changes {
    let mut changes = super::block(number, 1);
    let record = IdempotencyRecord { body: [7; 32], invoice: InvoiceId::from_bytes([7; 16]) };
    // A large record, so that a place in a log or table lies in the middle of one.
    let key = (Merchant::anyone(), format!("{number:04} {}", "x".repeat(300)));
    changes.idempotency.insert(key, Some(record));
    let order = Order(number.into());
    changes.counters.insert((), Some(Meta { order, seq: number.into(), ..Meta::default() }));
    changes
}

fn content_after(number: u32) -> Content {
    let counters = Meta { order: Order(number.into()), seq: number.into(), ..Meta::default() };
    ((1..=number).collect(), number as usize, Some(counters))
}

fn content(store: &Store) -> Result<Content, ReadError> {
    let chain = Reads::<Chain>::range(store, 0..=u32::MAX, usize::MAX)?.into_iter().map(|(height, _)| height);
    let everyone = Default::default()..=(Merchant::anyone(), "\u{10ffff}".to_owned());
    let keys = Reads::<Idempotency>::range(store, everyone, usize::MAX)?.len();
    Ok((chain.collect(), keys, Reads::<Counters>::get(store, &())?))
}

/// A store as SIGKILL leaves it: tables, a closed log that is still needed, and a newest log.
fn killed() -> TempDir {
    let (directory, store) = super::fresh();
    let flush = |names: &[&str]| {
        let flushed = store.with_database(|database| {
            names.iter().all(|name| {
                let family = database.rocks().cf_handle(name).unwrap();
                database.rocks().flush_cf(family).is_ok()
            })
        });
        assert_eq!(flushed, Ok(true));
    };
    for number in 1..=INPUTS {
        store.commit(&input(number)).unwrap();
        match number {
            FLUSHED => flush(&family::names().collect::<Vec<_>>()),
            // The others stay in memory, so the log is closed and needed.
            CLOSED => flush(&["counters"]),
            _ => {}
        }
    }
    let left = tempfile::tempdir().unwrap();
    copy(directory.path(), left.path());
    left
}

/// A change of one file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Deleted,
    Emptied,
    /// Cut to so many hundredths.
    Cut(usize),
    /// The last byte is gone.
    Shortened,
    /// One bit is flipped in the byte at so many hundredths of the length.
    Flipped(usize),
}

const DAMAGES: [Damage; 10] = [
    Damage::Deleted,
    Damage::Emptied,
    Damage::Cut(33),
    Damage::Cut(66),
    Damage::Shortened,
    Damage::Flipped(0),
    Damage::Flipped(10),
    Damage::Flipped(50),
    Damage::Flipped(90),
    Damage::Flipped(100),
];

impl Damage {
    fn of(self, file: &Path) {
        let mut bytes = fs::read(file).unwrap();
        match self {
            Self::Deleted => return fs::remove_file(file).unwrap(),
            Self::Emptied => bytes.clear(),
            Self::Cut(hundredths) => bytes.truncate(bytes.len() * hundredths / 100),
            Self::Shortened => bytes.truncate(bytes.len().saturating_sub(1)),
            Self::Flipped(hundredths) => {
                let place = (bytes.len() * hundredths / 100).min(bytes.len().saturating_sub(1));
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 0x10;
                }
            }
        }
        fs::write(file, bytes).unwrap();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut names: Vec<String> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// RocksDB's own notes, without which a store is whole.
fn is_a_note(name: &str) -> bool {
    name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "IDENTITY" || name == "LOCK"
}

/// Every file but the notes, with its bytes.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = names(folder).into_iter().filter(|name| !is_a_note(name));
    files.map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

fn refusal(folder: &Path) -> Result<Store, StoreError> {
    Store::open(folder, StoreOptions::new(Network::Regtest))
}

/// Effect of one damage on the store.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    /// The store was not opened, and its files are as they were.
    Refused(StoreError),
    /// The store was opened, and a read named the damage.
    Named,
    /// Nothing was missing.
    Harmless,
    /// Something was missing, without a word.
    Silent(Content),
}

fn try_damage(left: &Path, file: &str, damage: Damage) -> Seen {
    let copied = tempfile::tempdir().unwrap();
    copy(left, copied.path());
    damage.of(&copied.path().join(file));
    let before = bytes(copied.path());
    match refusal(copied.path()) {
        Err(error) => {
            assert_eq!(bytes(copied.path()), before, "{file} {damage:?}: a refused store stays as it is");
            Seen::Refused(error)
        }
        Ok(store) => match content(&store) {
            Err(ReadError(_)) => Seen::Named,
            Ok(content) if content == content_after(INPUTS) => Seen::Harmless,
            Ok(content) => Seen::Silent(content),
        },
    }
}

/// Tries every damage on every file, in two threads, and returns the effect of each.
fn every_damage() -> Vec<(String, Damage, Seen)> {
    let left = killed();
    let cases: Vec<(String, Damage)> = names(left.path())
        .into_iter()
        .flat_map(|file| DAMAGES.map(|damage| (file.clone(), damage)))
        .collect();
    let halves = cases.chunks(cases.len().div_ceil(2));
    thread::scope(|threads| {
        let tried: Vec<_> = halves
            .map(|half| {
                let left = left.path();
                threads.spawn(move || {
                    let seen = half.iter().map(|(file, damage)| {
                        let seen = try_damage(left, file, *damage);
                        (file.clone(), *damage, seen)
                    });
                    seen.collect::<Vec<_>>()
                })
            })
            .collect();
        tried.into_iter().flat_map(|half| half.join().unwrap()).collect()
    })
}

#[test]
fn no_damage_of_any_file_is_silent() {
    let seen = every_damage();
    let kinds: Vec<&str> = ["sst", "log"]
        .into_iter()
        .filter(|kind| seen.iter().any(|(file, ..)| file.ends_with(&format!(".{kind}"))))
        .collect();
    assert_eq!(kinds, ["sst", "log"], "the store has both");
    assert!(seen.iter().filter(|(file, ..)| file.ends_with(".log")).count() >= 2 * DAMAGES.len());
    for (file, damage, seen) in seen {
        let case = format!("{file} {damage:?}: {seen:?}");
        if is_a_note(&file) {
            assert_eq!(seen, Seen::Harmless, "{case}");
            continue;
        }
        assert!(!matches!(seen, Seen::Silent(_)), "{case}");
        if let Seen::Refused(error) = &seen {
            assert!(error.is_lasting(), "no restart mends it: {case}");
        }
        let whole = matches!(damage, Damage::Deleted | Damage::Emptied);
        assert!(!whole || matches!(seen, Seen::Refused(_)), "{case}");
        let in_log_or_number = file.ends_with(".log") || file == "committed";
        assert!(!in_log_or_number || matches!(seen, Seen::Refused(_)), "{case}");
    }
}

#[test]
fn a_manifest_that_is_cut_anywhere_is_not_silent() {
    let left = killed();
    let manifest = names(left.path()).into_iter().find(|name| name.starts_with("MANIFEST")).unwrap();
    for hundredths in (0..100).step_by(4) {
        let seen = try_damage(left.path(), &manifest, Damage::Cut(hundredths));
        assert!(!matches!(seen, Seen::Silent(_)), "cut to {hundredths} %: {seen:?}");
    }
}

#[test]
fn a_store_that_was_killed_opens_as_it_was() {
    let left = killed();
    assert_eq!(content(&open(left.path())), Ok(content_after(INPUTS)));
    assert_eq!(content(&open(left.path())), Ok(content_after(INPUTS)), "and again");
}

#[test]
fn an_unfinished_write_that_nobody_was_answered_for_is_dropped() {
    let left = killed();
    let log = newest_log(left.path());
    let mut bytes = fs::read(&log).unwrap();
    // A record whose end never reached the disk.
    let half = bytes[..bytes.len() / 20].to_vec();
    bytes.extend(half);
    fs::write(&log, bytes).unwrap();
    let store = open(left.path());
    assert_eq!(content(&store), Ok(content_after(INPUTS)));
    store.commit(&input(INPUTS + 1)).unwrap();
    drop(store);
    assert_eq!(content(&open(left.path())), Ok(content_after(INPUTS + 1)));
}

#[test]
fn a_lost_input_is_counted() {
    let left = killed();
    let log = newest_log(left.path());
    Damage::Cut(50).of(&log);
    let StoreError::Lost { readable, committed, .. } = refusal(left.path()).unwrap_err() else {
        panic!("another refusal")
    };
    assert_eq!(committed, u64::from(INPUTS));
    assert!(readable >= u64::from(CLOSED) && readable < committed, "{readable}");
    let message = refusal(left.path()).unwrap_err().to_string();
    assert!(message.contains(&format!("{readable} of {committed} inputs can be read")), "{message}");
}

/// A store that an older program wrote has no file `committed`: it is opened as before, and has one from then on.
#[test]
fn a_store_without_the_file_gets_one_and_then_needs_it() {
    let left = killed();
    let store = open(left.path());
    let mut meta = store.with_database(|database| database.read_meta()).unwrap().unwrap().unwrap();
    meta.has_committed = false;
    meta.families.clear();
    store.with_database(|database| database.write_meta(meta)).unwrap().unwrap();
    drop(store);
    let committed = left.path().join("committed");
    fs::remove_file(&committed).unwrap();
    assert_eq!(content(&open(left.path())), Ok(content_after(INPUTS)));
    assert!(committed.exists());
    fs::remove_file(&committed).unwrap();
    let error = refusal(left.path()).unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged { why, .. } if why.contains("`committed` is missing")),
        "{error}"
    );
}

#[test]
fn a_repair_goes_on_from_what_can_be_read() {
    let left = killed();
    let newest = newest_log(left.path()).file_name().unwrap().to_str().unwrap().to_owned();
    let mut repaired = Vec::new();
    for file in [newest.as_str(), "committed"] {
        for damage in DAMAGES {
            let copied = tempfile::tempdir().unwrap();
            copy(left.path(), copied.path());
            damage.of(&copied.path().join(file));
            repaired.push(repaired_to(copied.path(), &format!("{file} {damage:?}")));
        }
    }
    let half: Vec<u32> =
        repaired.iter().copied().filter(|last| (CLOSED + 1..INPUTS).contains(last)).collect();
    assert!(!half.is_empty() && repaired.contains(&CLOSED) && repaired.contains(&INPUTS), "{repaired:?}");
}

/// Examines and repairs a store; gives its last input, up to which it has everything.
fn repaired_to(folder: &Path, case: &str) -> u32 {
    let before = bytes(folder);
    let loss = examined(folder).unwrap_or_else(|error| panic!("{case}: {error}"));
    let Some(loss) = loss else { panic!("{case}: found sound") };
    assert_eq!(bytes(folder), before, "{case}: an examination changes nothing");
    let options = StoreOptions::new(Network::Regtest);
    let aside = Store::repair(folder, &options, &loss).unwrap_or_else(|error| panic!("{case}: {error}"));
    let mut kept = before;
    kept.retain(|name, _| !name.ends_with(".sst"));
    assert_eq!(bytes(&aside), kept, "{case}: everything is copied aside");

    // Whole inputs, in their order, up to one of them.
    let readable = u32::try_from(loss.readable).unwrap();
    assert_eq!(content(&open(folder)), Ok(content_after(readable)), "{case}");
    assert_eq!(examined(folder), Ok(None), "{case}: nothing is left to repair");
    let store = open(folder);
    store.commit(&input(readable + 1)).unwrap();
    drop(store);
    assert_eq!(content(&open(folder)), Ok(content_after(readable + 1)), "{case}");
    readable
}

/// The counters are in a table, and the log that had the rest of the same inputs is damaged: no moment of the past can be
/// read, so a repair would make up a store that never was.
#[test]
fn a_closed_log_that_a_table_goes_beyond_is_not_repaired() {
    let left = killed();
    let closed = logs(left.path())[0].file_name().unwrap().to_str().unwrap().to_owned();
    for damage in DAMAGES {
        let copied = tempfile::tempdir().unwrap();
        copy(left.path(), copied.path());
        damage.of(&copied.path().join(&closed));
        let before = bytes(copied.path());
        let examined = examined(copied.path());
        assert!(
            matches!(examined, Err(StoreError::Damaged { .. } | StoreError::Lost { .. })),
            "{damage:?}: {examined:?}"
        );
        assert_eq!(bytes(copied.path()), before, "{damage:?}");
    }
}

#[test]
fn a_table_that_is_damaged_is_not_repaired() {
    let left = killed();
    let table = names(left.path()).into_iter().find(|name| name.ends_with(".sst")).unwrap();
    fs::remove_file(left.path().join(table)).unwrap();
    let before = bytes(left.path());
    assert!(matches!(examined(left.path()), Err(StoreError::Damaged { .. })));
    assert_eq!(bytes(left.path()), before);
}

/// RocksDB reads tables by itself to merge them. A damaged block that it meets then stops no write.
#[test]
fn a_damaged_block_that_is_compacted_stops_no_write() {
    let left = killed();
    let table = names(left.path()).into_iter().find(|name| {
        name.ends_with(".sst")
            && String::from_utf8_lossy(&fs::read(left.path().join(name)).unwrap()).contains("0001 x")
    });
    Damage::Flipped(1).of(&left.path().join(table.unwrap()));
    let store = open(left.path());
    store.commit(&input(INPUTS + 1)).unwrap();
    store
        .with_database(|database| {
            let family = database.rocks().cf_handle("idempotency").unwrap();
            database.rocks().flush_cf(family).unwrap();
            database.rocks().compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
        })
        .unwrap();
    assert!(content(&store).is_err(), "the block is still damaged");
    for number in INPUTS + 2..INPUTS + 5 {
        store.commit(&input(number)).unwrap();
    }
    assert!(!store.is_failed());
}

#[test]
fn a_store_in_use_is_not_examined() {
    let (directory, _store) = super::fresh();
    assert!(matches!(examined(directory.path()), Err(StoreError::Held { .. })));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(examined(empty.path()), Err(StoreError::Missing { .. })));
}

fn examined(folder: &Path) -> Result<Option<Loss>, StoreError> {
    Store::examine(folder, &StoreOptions::new(Network::Regtest)).map(|examination| match examination {
        Examination::Sound => None,
        Examination::Loss(loss) => Some(loss),
    })
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    let logs = names(folder).into_iter().filter(|name| name.ends_with(".log"));
    logs.map(|name| folder.join(name)).collect()
}

fn newest_log(folder: &Path) -> PathBuf {
    logs(folder).pop().unwrap()
}

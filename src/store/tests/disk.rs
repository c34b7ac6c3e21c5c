//! A disk that fails: full, and full no more.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tempfile::TempDir;

use super::{chain, open};
use crate::{
    invoice::InvoiceId,
    ledger::{
        Changes, ReadError, Reads,
        tables::{Chain, Idempotency, IdempotencyRecord},
    },
    store::{CommitError, Store, StoreError},
};

/// A small disk of its own, gone when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// Only root can make one.
    fn mount(mib: usize) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// A height on the chain, and a record that takes its room.
fn heavy(height: u32) -> Changes {
    let mut changes = super::block(height, 1);
    let record = IdempotencyRecord { body: [7; 32], invoice: InvoiceId::from_bytes([7; 16]) };
    // Keys without a pattern, so that nothing compresses.
    let noise: String = (0u64..10_000)
        .map(|number| {
            let mixed = (number + u64::from(height) * 10_007).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59;
            char::from(b'A' + u8::try_from(mixed % 26).unwrap())
        })
        .collect();
    changes
        .idempotency
        .insert((crate::invoice::Merchant::anyone(), format!("{height} {noise}")), Some(record));
    changes
}

/// Commits until it fails; gives the height that failed.
fn fill(store: &Store, from: u32) -> (u32, CommitError) {
    (from..100_000)
        .find_map(|height| store.commit(&heavy(height)).err().map(|error| (height, error)))
        .expect("the disk is small")
}

#[test]
fn a_full_disk_is_survived() {
    let Some(disk) = SmallDisk::mount(48) else {
        regtest::node::skipped("a_full_disk_is_survived: only root can mount a small disk");
        return;
    };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 16 << 20]).unwrap();
    let store = open(&disk.path().join("store"));
    let (failed, error) = fill(&store, 0);
    assert!(failed > 0);
    assert!(matches!(error, CommitError::DiskFull(_)), "{error:?}");
    assert!(store.is_failed());

    // Nothing more is tried, and reading goes on.
    assert_eq!(store.commit(&super::block(failed, 1)), Err(error));
    assert_eq!(chain(&store).unwrap().len(), failed as usize);
    while std::fs::write(disk.path().join("rest"), vec![0; 1 << 20]).is_ok() {
        let name = format!("rest{}", std::fs::read_dir(disk.path()).unwrap().count());
        std::fs::rename(disk.path().join("rest"), disk.path().join(name)).unwrap();
    }
    assert!(matches!(store.recover(), Err(StoreError::DiskFull { .. })));
    assert!(matches!(store.probe(), Err(StoreError::DiskFull { .. })));
    assert_eq!(chain(&store).unwrap().len(), failed as usize);

    // With room again it goes on in place, while others read all the time.
    std::fs::remove_file(&ballast).unwrap();
    let (stop, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert!(Reads::<Chain>::get(&store, &0).unwrap().is_some());
                store
                    .snapshot(|snapshot| {
                        assert!(chain(snapshot)?.len() >= failed as usize);
                        Ok::<_, ReadError>(())
                    })
                    .unwrap();
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        let read_again = || {
            let before = reads.load(Ordering::Relaxed);
            regtest::wait::until("a read", || reads.load(Ordering::Relaxed) > before)
        };
        let read_before = read_again();
        let recovered = store.recover();
        let read_after = read_again();
        stop.store(true, Ordering::Relaxed);
        recovered.unwrap();
        read_before.and(read_after).unwrap();
    });
    assert!(!store.is_failed());

    // Of what failed nothing is there.
    let blocks = chain(&store).unwrap().len();
    let records = Reads::<Idempotency>::range(
        &store,
        Default::default()..=(crate::invoice::Merchant::anyone(), "\u{10ffff}".to_owned()),
        usize::MAX,
    )
    .unwrap()
    .len();
    assert_eq!(blocks, records);
    assert_eq!(blocks, failed as usize);
    store.commit(&super::block(1_000_000, 2)).unwrap();
    drop(store);
    assert_eq!(chain(&open(&disk.path().join("store"))).unwrap().len(), blocks + 1);
}

#[test]
fn a_healthy_store_has_nothing_to_recover() {
    let (directory, store) = super::fresh();
    store.probe().unwrap();
    store.recover().unwrap();
    assert!(!store.is_failed());
    assert!(!directory.path().join("PROBE").exists());
}

#[test]
fn a_failed_store_is_opened_again_in_place() {
    let (_directory, store) = super::fresh();
    store.commit(&super::block(1, 1)).unwrap();
    store.fail_with(Changes::default());
    assert!(matches!(store.commit(&super::block(2, 2)), Err(CommitError::Disk(_))));
    store.recover().unwrap();
    store.commit(&super::block(2, 2)).unwrap();
    assert_eq!(chain(&store).unwrap().len(), 2);
}

/// The disk took the changes, and RocksDB could not say so.
#[test]
fn of_a_commit_that_failed_nothing_remains() {
    let (_directory, store) = super::fresh();
    let mut first = super::block(1, 1);
    first.extend(super::block(2, 1));
    store.commit(&first).unwrap();
    let before = chain(&store).unwrap();

    let mut doubtful = super::block(1, 9);
    doubtful.extend(super::block(3, 9));
    doubtful.chain.insert(2, None);
    store.fail_with(doubtful.clone());
    // Not by way of the store, which has failed; and after it looked back.
    store.look_back_now();
    store.with_database(|database| database.commit(&doubtful)).unwrap().unwrap();
    assert_ne!(chain(&store).unwrap(), before);
    store.recover().unwrap();
    assert_eq!(chain(&store).unwrap(), before);
}

#[test]
fn a_reader_that_does_not_end_is_not_waited_for_without_end() {
    let (_directory, store) = super::fresh();
    store.fail_with(Changes::default());
    store
        .snapshot(|snapshot| {
            assert!(matches!(store.recover(), Err(StoreError::Readers { .. })));
            chain(snapshot)
        })
        .unwrap();
    assert_eq!(chain(&store), Ok(vec![]));
    assert!(store.is_failed());
    store.recover().unwrap();
}

/// A directory that is empty all of a sudden is a disk that went away, and no place for a new store.
#[test]
fn a_store_whose_disk_went_away_is_not_made_anew() {
    let (directory, store) = super::fresh();
    store.fail_with(Changes::default());
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let recovered = store.recover();
    assert!(matches!(recovered, Err(StoreError::Damaged { .. })), "{recovered:?}");
    assert!(store.is_failed());
    assert_eq!(chain(&store), Ok(vec![]));
    assert!(!directory.path().join("CURRENT").exists());
}

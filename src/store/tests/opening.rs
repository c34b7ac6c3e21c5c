//! What is opened, and what is refused.

use std::sync::mpsc;

use super::{block, chain, fresh, hash, open};
use crate::{
    bch::Network,
    ledger::{ReadError, Reads, tables::Chain},
    store::{CommitError, Creation, Store, StoreError, StoreOptions, records::StoreMetaMessage},
};

fn refusal(path: &std::path::Path, network: Network) -> StoreError {
    Store::open(path, StoreOptions::new(network)).unwrap_err()
}

#[test]
fn what_is_committed_is_there_after_a_crash() {
    let (directory, store) = fresh();
    store.commit(&block(7, 1)).unwrap();
    let copied = tempfile::tempdir().unwrap();
    super::copy(directory.path(), copied.path());
    assert_eq!(chain(&open(copied.path())), Ok(vec![(7, hash(1))]));
    drop(store);
    assert_eq!(chain(&open(directory.path())), Ok(vec![(7, hash(1))]));
}

#[test]
fn another_network_is_refused() {
    let (directory, store) = fresh();
    drop(store);
    let error = refusal(directory.path(), Network::Main);
    assert!(
        matches!(&error, StoreError::OtherNetwork { theirs, ours: Network::Main, .. } if theirs == "regtest")
    );
    assert!(error.to_string().contains("belongs to the network regtest, and main is configured"));
}

#[test]
fn a_newer_layout_is_refused_and_stays_as_it_is() {
    let (directory, store) = fresh();
    store.commit(&block(7, 1)).unwrap();
    let newer = StoreMetaMessage::of(2, Network::Regtest);
    store.with_database(|database| database.write_meta(newer)).unwrap().unwrap();
    drop(store);
    // The newer one has a table that nobody here knows.
    let names = rocksdb::DB::list_cf(&rocksdb::Options::default(), directory.path()).unwrap();
    let rocks = rocksdb::DB::open_cf(&rocksdb::Options::default(), directory.path(), names).unwrap();
    rocks.create_cf("later", &rocksdb::Options::default()).unwrap();
    drop(rocks);
    let error = refusal(directory.path(), Network::Regtest);
    assert!(matches!(&error, StoreError::NewerSchema { theirs: 2, ours: 1, .. }), "{error:?}");
    assert!(error.to_string().contains("use a newer version"));
    let again = refusal(directory.path(), Network::Regtest);
    assert_eq!(again, error);
}

#[test]
fn a_log_gets_its_id_once() {
    let (directory, store) = fresh();
    let log = store.log().unwrap();
    drop(store);
    assert_eq!(open(directory.path()).log(), Ok(log));
    let (_other, other) = fresh();
    assert_ne!(other.log(), Ok(log));

    // A store as versions made it that knew no ids.
    let store = open(directory.path());
    store.commit(&block(7, 1)).unwrap();
    store.with_database(|database| database.forget_log()).unwrap().unwrap();
    drop(store);
    let reading = || Store::open_for_reading(directory.path(), StoreOptions::new(Network::Regtest)).unwrap();
    assert!(reading().log().unwrap_err().0.contains("there is none"));
    let store = open(directory.path());
    let new = store.log().unwrap();
    assert_ne!(new, log);
    assert_eq!(chain(&store), Ok(vec![(7, hash(1))]));
    drop(store);
    assert_eq!((open(directory.path()).log(), reading().log()), (Ok(new), Ok(new)));
}

#[test]
fn a_store_that_is_open_is_held() {
    let (directory, store) = fresh();
    let error = refusal(directory.path(), Network::Regtest);
    assert!(matches!(error, StoreError::Held { .. }), "{error:?}");
    drop(store);
    open(directory.path());
}

#[test]
fn a_database_of_others_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (plain, named) = (directory.path().join("plain"), directory.path().join("named"));
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let rocks = rocksdb::DB::open(&options, &plain).unwrap();
    rocks.put("theirs", "yes").unwrap();
    drop(rocks);
    drop(rocksdb::DB::open_cf(&options, &named, ["theirs"]).unwrap());
    for path in [plain, named] {
        let error = refusal(&path, Network::Regtest);
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
    }
}

#[test]
fn a_store_that_was_left_half_made_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    drop(rocksdb::DB::open_cf(&options, directory.path(), ["invoices", "chain"]).unwrap());
    let store = open(directory.path());
    store.commit(&block(1, 1)).unwrap();
    drop(store);
    assert_eq!(chain(&open(directory.path())), Ok(vec![(1, hash(1))]));
}

#[test]
fn a_directory_that_cannot_be_made_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(refusal(&file.join("store"), Network::Regtest), StoreError::Disk { .. }));
}

#[test]
fn a_damaged_file_is_answered() {
    let (directory, store) = fresh();
    store.commit(&block(1, 1)).unwrap();
    store.flush_and_close().unwrap();
    drop(store);
    let mut cut = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            std::fs::write(&path, "not a table").unwrap();
            cut += 1;
        }
    }
    assert!(cut > 0);
    let error = refusal(directory.path(), Network::Regtest);
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_missing_store_is_made_and_told_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let never = || StoreOptions { creation: Creation::Never, ..StoreOptions::new(Network::Regtest) };
    let error = Store::open(&path, never()).unwrap_err();
    assert_eq!(error, StoreError::Missing { path: path.clone() });
    assert!(!path.exists(), "nothing was made");
    assert!(open(&path).was_created());
    assert!(!open(&path).was_created());
    assert!(!Store::open(&path, never()).unwrap().was_created());
}

#[test]
fn a_snapshot_stands_still() {
    let (_directory, store) = fresh();
    store.commit(&block(1, 1)).unwrap();
    store
        .snapshot(|snapshot| {
            store.commit(&block(2, 2)).unwrap();
            assert_eq!(chain(snapshot), Ok(vec![(1, hash(1))]));
            assert_eq!(Reads::<Chain>::get(snapshot, &2), Ok(None));
            assert_eq!(chain(&store).unwrap().len(), 2);
            Ok::<_, ReadError>(())
        })
        .unwrap();
}

#[test]
fn a_checkpoint_is_a_store() {
    let (directory, store) = fresh();
    store.commit(&block(1, 1)).unwrap();
    let copied = tempfile::tempdir().unwrap();
    let to = copied.path().join("copy");
    store.checkpoint(&to).unwrap();
    store.commit(&block(2, 2)).unwrap();
    assert_eq!(chain(&open(&to)), Ok(vec![(1, hash(1))]));
    assert!(store.checkpoint(directory.path()).is_err());
}

#[test]
fn closed_is_closed() {
    let (directory, store) = fresh();
    store.commit(&block(1, 1)).unwrap();
    store.flush_and_close().unwrap();
    assert!(chain(&store).is_err());
    assert!(store.snapshot(|snapshot| chain(snapshot)).is_err());
    assert_eq!(store.commit(&block(2, 2)), Err(CommitError::Closed));
    assert_eq!(store.recover(), Err(StoreError::Closed));
    assert_eq!(store.flush_and_close(), Ok(()));
    assert_eq!(chain(&open(directory.path())), Ok(vec![(1, hash(1))]));
}

#[test]
fn closing_waits_for_readers() {
    let (_directory, store) = fresh();
    let (inside, entered) = mpsc::sync_channel(1);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            store
                .snapshot(|snapshot| {
                    inside.send(()).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    chain(snapshot)
                })
                .unwrap();
        });
        entered.recv().unwrap();
        assert_eq!(store.flush_and_close(), Ok(()));
    });
}

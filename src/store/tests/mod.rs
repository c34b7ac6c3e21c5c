//! Tests of the store as a whole.

mod codec;
mod damage;
mod disk;
mod model;
mod opening;
mod sample;
mod torn;

use std::{collections::BTreeSet, path::Path};

use tempfile::TempDir;

use super::{Store, StoreOptions};
use crate::{
    bch::{BlockHash, Network},
    ledger::{Changes, ReadError, Reads, tables::Chain},
};

/// A new store in a directory that goes when it is dropped.
fn fresh() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    (directory, store)
}

fn open(path: &Path) -> Store {
    Store::open(path, StoreOptions::new(Network::Regtest)).unwrap()
}

fn hash(tag: u8) -> BlockHash {
    bitcoincash::hashes::Hash::from_byte_array([tag; 32])
}

/// A chain of one block.
fn block(height: u32, tag: u8) -> Changes {
    let mut changes = Changes::default();
    changes.chain.insert(height, Some(hash(tag)));
    changes
}

fn chain(view: &impl Reads<Chain>) -> Result<Vec<(u32, BlockHash)>, ReadError> {
    view.range(0..=u32::MAX, usize::MAX)
}

/// Copies a directory as it lies there, as a power failure would leave it: at a moment when no file comes or goes.
fn copy(from: &Path, to: &Path) {
    let names = || -> BTreeSet<_> {
        std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    loop {
        std::fs::create_dir_all(to).unwrap();
        let before = names();
        let copied = before.iter().all(|name| std::fs::copy(from.join(name), to.join(name)).is_ok());
        if copied && names() == before {
            return;
        }
        std::fs::remove_dir_all(to).unwrap();
    }
}

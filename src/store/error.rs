//! What can go wrong with the store, and who is at fault.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::bch::Network;

/// Why a store could not be opened, opened again, copied or closed. The messages are for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It belongs to another network: the configuration is at fault.
    #[error(
        "the store in {path} belongs to the network {theirs}, and {ours} is configured: give each network a directory of its own"
    )]
    OtherNetwork {
        /// Where.
        path: PathBuf,
        /// The network it was created for.
        theirs: String,
        /// The one it was opened for.
        ours: Network,
    },
    /// A newer program wrote it: the operator went back to an older one.
    #[error(
        "the store in {path} has layout {theirs} (created by version {created_by}), and this program knows layouts up to {ours}: use a newer version of the program"
    )]
    NewerSchema {
        /// Where.
        path: PathBuf,
        /// Its layout.
        theirs: u32,
        /// The newest layout this program knows.
        ours: u32,
        /// The version of the program that created it.
        created_by: String,
    },
    /// Another process, or another part of this one, has it open.
    #[error("the store in {path} is in use by another process")]
    Held {
        /// Where.
        path: PathBuf,
    },
    /// A database of another program: the configuration is at fault.
    #[error("{path} holds a database, but not one of this program")]
    NotAStore {
        /// Where.
        path: PathBuf,
    },
    /// What is on disk makes no sense: the disk is at fault, or somebody changed it.
    #[error("the store in {path} is damaged: {why}")]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// Inputs that were answered as durable cannot be read any more: the logs are damaged, or one is missing.
    #[error(
        "the store in {path} is damaged: {readable} of {committed} inputs can be read; nothing was changed; put back a copy, or see what would be lost: jppd store repair"
    )]
    Lost {
        /// Where.
        path: PathBuf,
        /// The number of the last input that can be read.
        readable: u64,
        /// The number of the last input that was answered.
        committed: u64,
    },
    /// There is no store, and none is to be made: by `store.create = "never"`, or by a command that only reads.
    #[error("there is no store in {path}, and none is made here: is its disk mounted, is store.path right?")]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// The store belongs to another user than this process runs as.
    #[error("the store in {path} belongs to the user {owner}, and this is {user}: run it as {owner}")]
    OtherOwner {
        /// Where.
        path: PathBuf,
        /// The name of its owner.
        owner: String,
        /// The name of the user of this process.
        user: String,
    },
    /// There is no room: the operator makes some.
    #[error("the disk of {path} is full: {why}")]
    DiskFull {
        /// Where.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The disk, or the rights on it.
    #[error("the store in {path} could not be used: {why}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A reader held the database for longer than anybody should: a bug of ours. Trying again helps.
    #[error("readers still hold the store in {path}")]
    Readers {
        /// Where.
        path: PathBuf,
    },
    /// It was closed: the program is ending.
    #[error("the store is closed")]
    Closed,
}

/// Why changes are not on disk. Nothing was written in part, and nothing else is written until the store is
/// recovered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// There is no room: the operator makes some.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    /// The disk failed in another way.
    #[error("the disk failed: {0}")]
    Disk(String),
    /// The store was closed: the program is ending.
    #[error("the store is closed")]
    Closed,
}

impl CommitError {
    /// What RocksDB said about a write.
    pub(super) fn of_write(error: &rocksdb::Error) -> Self {
        let why = error.to_string();
        if is_disk_full(&why) { Self::DiskFull(why) } else { Self::Disk(why) }
    }
}

impl StoreError {
    /// Whether an opening that failed so fails again at every further try until somebody does something about it.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::OtherNetwork { .. }
            | Self::NewerSchema { .. }
            | Self::NotAStore { .. }
            | Self::Damaged { .. }
            | Self::Lost { .. }
            | Self::Missing { .. }
            | Self::OtherOwner { .. } => true,
            Self::Held { .. }
            | Self::DiskFull { .. }
            | Self::Disk { .. }
            | Self::Readers { .. }
            | Self::Closed => false,
        }
    }

    /// What RocksDB said about opening, closing or copying.
    pub(super) fn of(path: &Path, error: &rocksdb::Error) -> Self {
        let (path, why) = (path.to_owned(), error.to_string());
        // The lock is known by its words alone; the first are those for a lock of this very process.
        if why.contains("lock hold by current process") || why.contains("While lock file") {
            Self::Held { path }
        } else if is_disk_full(&why) {
            Self::DiskFull { path, why }
        } else if error.kind() == rocksdb::ErrorKind::Corruption {
            Self::Damaged { path, why }
        } else {
            Self::Disk { path, why }
        }
    }

    /// What the system said about a file.
    pub(super) fn of_file(path: &Path, error: &io::Error) -> Self {
        let (path, why) = (path.to_owned(), error.to_string());
        if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            Self::DiskFull { path, why }
        } else {
            Self::Disk { path, why }
        }
    }
}

/// Whether RocksDB speaks of a full disk. It keeps the system's words (ENOSPC, EDQUOT) and has some of its own.
fn is_disk_full(why: &str) -> bool {
    ["No space left on device", "Disk quota exceeded", "NoSpace", "space limit"]
        .iter()
        .any(|words| why.contains(words))
}

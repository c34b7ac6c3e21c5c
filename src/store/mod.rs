//! RocksDB: tables, the record codec, the atomic commit.
//!
//! Floor 3. It alone knows bytes at rest, and it decides nothing. [`Store`] is a [`View`](crate::ledger::View) for
//! the ledger and for every reader, and [`Store::commit`] is the one way anything gets on disk: all tables of all
//! inputs of a batch in one write, synced before it returns. What did not return did not happen.
//!
//! # How it is built
//!
//! - `keys`: the keys of every table as bytes, all in one file. Their order is the ledger's order.
//! - `records`: the values as bytes: a version, then a protobuf message.
//! - `family`: a column family for each table, and how RocksDB is set up for it.
//! - `opening`: the checks before a database is opened for writing, which change nothing.
//! - `committed`: the number of the last input that was answered, beside the database.
//! - `database`: one opened database: opening, reading, writing.
//! - `repair`: what a damaged store would lose, and going on without it.
//! - `owner`, `free`: whose the folder is, and how much room its disk has.
//! - `store`: the database behind a pointer that can be exchanged; failure and recovery; snapshots.
//!
//! # When the disk fails
//!
//! After a failed write RocksDB takes no other until it is opened again. So a commit that fails marks the store as
//! failed, and every later one answers with the same [`CommitError`] without trying; reading goes on. The one writer
//! then calls [`Store::recover`] from time to time: it looks whether there is room on the disk ([`Store::probe`]),
//! and if there is, opens the database again in place. Readers that come in these milliseconds wait.
//!
//! A write that failed may have reached the disk in its last moment: no program can know. Recovery settles it: it
//! writes down what was there before, so that of a commit that failed nothing is ever read. Only if the program ends
//! before it recovered can the next start find such a commit, and then all of it: a write is whole or not there.
//!
//! # What is refused
//!
//! A store belongs to one network and says so, and says the version of its layout: another network, a layout from a
//! newer program, a database of somebody else, and a store that another process holds are refused with a message for
//! the operator ([`StoreError`]). So is a store that lost inputs which were answered as durable. A store that is refused is
//! not changed. Damaged records are answered with [`ReadError`](crate::ledger::ReadError), never
//! with a panic.

mod committed;
mod database;
mod error;
mod family;
mod free;
mod keys;
mod opening;
mod owner;
mod records;
mod repair;
#[expect(clippy::module_inception, reason = "the noun of this file is the room's own")]
mod store;
#[cfg(test)]
mod tests;

pub use database::{Creation, StoreOptions};
pub use error::{CommitError, StoreError};
pub use free::free_bytes;
pub use repair::{Examination, Loss};
pub use store::{Snapshot, Store};

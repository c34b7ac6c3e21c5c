//! Records at rest: what a value looks like on disk.
//!
//! A value is one byte, the version of this encoding, and then a Protocol Buffers message of its own kind. The
//! messages are private to the store and convert to and from the ledger's types, so neither can change the other by
//! accident. They evolve in both directions: a field that is added is absent in older records and skipped by older
//! programs; a number, once given to a field or a word, is never given to another.
//!
//! Nothing read is trusted. Every word (a state, a kind) has its number from 1 on and an unknown one is an error, so
//! is a missing part, a hash of another length, a time out of range. No bytes make it panic.

mod events;
mod index;
mod payments;
mod standing;
mod terms;

use bitcoincash::hashes::Hash as _;
pub(super) use index::StoreMetaMessage;
use prost::Message;

use crate::{
    bch::{BlockHash, Txid},
    invoice::{Elapsed, InvoiceId, NodeTime, Timestamp},
};

/// The version of the encoding: a protobuf message follows. Another one would be for what protobuf cannot say.
const VERSION: u8 = 1;

/// Why bytes are no record: the disk is at fault, or a bug, or a newer program wrote them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    /// There is nothing, not even a version.
    #[error("the record is empty")]
    Empty,
    /// The encoding is one that this program does not know.
    #[error("the record has the unknown encoding {0}")]
    Version(u8),
    /// Not a message at all.
    #[error("the record does not decode: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A message, and this part of it is missing or makes no sense.
    #[error("the record has a wrong or missing {0}")]
    Field(&'static str),
    /// The bytes are no key of the table.
    #[error("the key does not decode")]
    Key,
}

/// What can be written as a message.
pub(super) trait Record: Sized {
    /// How it looks at rest.
    type Message: Message + Default;

    /// As it is written.
    fn message(&self) -> Self::Message;

    /// As it was read.
    fn from_message(message: Self::Message) -> Result<Self, Damage>;
}

/// Appends the bytes of a record.
pub(super) fn encode<R: Record>(record: &R, out: &mut Vec<u8>) {
    out.push(VERSION);
    out.extend_from_slice(&record.message().encode_to_vec());
}

/// The record of bytes that were read.
pub(super) fn decode<R: Record>(bytes: &[u8]) -> Result<R, Damage> {
    match bytes.split_first() {
        Some((&VERSION, message)) => R::from_message(R::Message::decode(message)?),
        Some((&version, _)) => Err(Damage::Version(version)),
        None => Err(Damage::Empty),
    }
}

/// A word that stands as a number, from 1 on.
trait Word: Copy {
    fn number(self) -> u32;
    fn of_number(number: u32) -> Option<Self>;

    fn read(number: u32, field: &'static str) -> Result<Self, Damage> {
        Self::of_number(number).ok_or(Damage::Field(field))
    }
}

/// The numbers of words, for both directions in one place.
macro_rules! words {
    ($($type:ty { $($number:literal = $word:ident),* $(,)? })*) => {$(
        impl super::Word for $type {
            fn number(self) -> u32 {
                match self {
                    $(Self::$word => $number,)*
                }
            }

            fn of_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$word),)*
                    _ => None,
                }
            }
        }
    )*};
}
use words;

/// A part that must be there.
fn required<M>(part: Option<M>, field: &'static str) -> Result<M, Damage> {
    part.ok_or(Damage::Field(field))
}

/// A part that must be there, read.
fn part<R: Record>(message: Option<R::Message>, field: &'static str) -> Result<R, Damage> {
    R::from_message(required(message, field)?)
}

fn parts<R: Record>(messages: Vec<R::Message>) -> Result<Vec<R>, Damage> {
    messages.into_iter().map(R::from_message).collect()
}

fn messages<R: Record>(records: &[R]) -> Vec<R::Message> {
    records.iter().map(Record::message).collect()
}

fn array<const N: usize>(bytes: &[u8], field: &'static str) -> Result<[u8; N], Damage> {
    bytes.try_into().map_err(|_| Damage::Field(field))
}

fn txid(bytes: &[u8]) -> Result<Txid, Damage> {
    array(bytes, "transaction id").map(Txid::from_byte_array)
}

fn block_hash(bytes: &[u8]) -> Result<BlockHash, Damage> {
    array(bytes, "block hash").map(BlockHash::from_byte_array)
}

fn invoice_id(bytes: &[u8]) -> Result<InvoiceId, Damage> {
    array(bytes, "invoice id").map(InvoiceId::from_bytes)
}

fn millis(millis: u64) -> Result<u64, Damage> {
    if millis > Timestamp::MAX.millis() { Err(Damage::Field("time")) } else { Ok(millis) }
}

fn time(at: u64) -> Result<Timestamp, Damage> {
    millis(at).map(Timestamp::from_millis)
}

fn elapsed(at: u64) -> Result<Elapsed, Damage> {
    millis(at).map(Elapsed::from_millis)
}

fn node_time(at: u64) -> Result<NodeTime, Damage> {
    millis(at).map(NodeTime::from_millis)
}

/// A number that is narrower in memory than on disk.
fn narrow<N: TryFrom<u32>>(number: u32, field: &'static str) -> Result<N, Damage> {
    N::try_from(number).map_err(|_| Damage::Field(field))
}

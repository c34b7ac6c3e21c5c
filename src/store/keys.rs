//! Keys at rest: for every table, the bytes a record is found by.
//!
//! The ledger relies on the order of keys, and RocksDB orders by bytes, so **the order of the bytes is the order of
//! the keys** (`Ord`), for every table. A key is its parts one after the other; each part is either of a fixed
//! width or ends itself, so no key is the beginning of another one of its table.
//!
//! | part | bytes |
//! | --- | --- |
//! | `InvoiceId` | 16, as they stand |
//! | `Txid`, `BlockHash` | 32, in the order of the wire (shown, they are reversed) |
//! | `ScriptHash`, `Ask` | 32, as they stand |
//! | `OutPoint` | txid (32), index (4, big-endian) |
//! | `u16`, `u32`, `u64`, `Order` | 2, 4, 8, 8, big-endian |
//! | `Elapsed` | 8, milliseconds, big-endian |
//! | `Window` | 1: `00` open, `01` late |
//! | text (`Merchant`, `String`) | UTF-8 with `00` written as `00 FF`, then `00 00` |
//!
//! | column family | key | bytes | value (message in `records`) |
//! | --- | --- | --- | --- |
//! | `invoices` | invoice | 16 | `InvoiceRecord` |
//! | `credits` | outpoint | 36 | `Credit` |
//! | `credits_of` | invoice, ordinal | 24 | `OutPoint` |
//! | `transactions` | txid | 32 | `Transaction` |
//! | `spends` | outpoint | 36 | `Txids` |
//! | `unconfirmed` | txid | 32 | `Nothing` |
//! | `block_transactions` | block, txid | 64 | `Nothing` |
//! | `claims` | txid, invoice | 48 | `Claim` |
//! | `open_claims` | time, txid, invoice | 56 | `Nothing` |
//! | `scripts` | script | 32 | `Script` |
//! | `exact` | window, ask, order, output | 43 | `Invoice` (its id) |
//! | `live` | ask, order, output | 42 | `Invoice` (its id) |
//! | `ever` | ask, order, output | 42 | `Invoice` (its id) |
//! | `held` | time, outpoint | 44 | `Nothing` |
//! | `expiries` | time, invoice | 24 | `Nothing` |
//! | `late_ends` | time, invoice | 24 | `Nothing` |
//! | `retirements` | time, invoice | 24 | `Nothing` |
//! | `awaiting` | invoice | 16 | `Nothing` |
//! | `maturing` | height, txid | 36 | `Nothing` |
//! | `events` | seq | 8 | `Event` |
//! | `events_of` | invoice, n | 24 | `Number` |
//! | `unassigned` | outpoint | 36 | `Unassigned` |
//! | `unassigned_of` | merchant, ordinal | text + 8 | `OutPoint` |
//! | `idempotency` | merchant, key | text + text | `Idempotency` |
//! | `idempotency_ends` | time, merchant, key | 8 + text + text | `Nothing` |
//! | `chain` | height | 4 | `BlockHash` |
//! | `blocks` | block | 32 | `Block` |
//! | `counters` | none | 0 | `Counters` |
//! | `meta` | `store` | 5 | `StoreMeta` (of the store itself, no table of the ledger) |

use bitcoincash::hashes::Hash as _;

use crate::{
    bch::{BlockHash, OutPoint, ScriptHash, Txid},
    invoice::{Elapsed, InvoiceId, Merchant, Order},
    ledger::tables::{Ask, Window},
};

/// The one key of the family `meta`.
pub(super) const STORE_META: &[u8] = b"store";

/// A key, or a part of one.
pub(super) trait Key: Sized {
    /// Appends its bytes.
    fn put(&self, out: &mut Vec<u8>);

    /// Takes it off the front of bytes that were read; `None` if they do not begin with one.
    fn take(from: &mut &[u8]) -> Option<Self>;
}

/// The bytes of a key.
pub(super) fn encode<K: Key>(key: &K) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    key.put(&mut out);
    out
}

/// The key of bytes that were read, all of them.
pub(super) fn decode<K: Key>(mut bytes: &[u8]) -> Option<K> {
    let key = K::take(&mut bytes)?;
    bytes.is_empty().then_some(key)
}

/// The least bytes above those of a key: where a range that includes it ends.
pub(super) fn just_above<K: Key>(key: &K) -> Vec<u8> {
    let mut bytes = encode(key);
    bytes.push(0);
    bytes
}

fn split<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = from.split_first_chunk::<N>()?;
    *from = tail;
    Some(*head)
}

impl Key for () {
    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

macro_rules! big_endian {
    ($($number:ty),*) => {$(
        impl Key for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                split(from).map(Self::from_be_bytes)
            }
        }
    )*};
}
big_endian!(u16, u32, u64);

/// Keys that are so many bytes, or one number: what they are as the simpler type, and what that is as them.
macro_rules! as_simpler {
    ($($key:ty: $simple:ty, $there:expr, $back:expr;)*) => {$(
        impl Key for $key {
            fn put(&self, out: &mut Vec<u8>) {
                let there: fn(&$key) -> $simple = $there;
                there(self).put(out);
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                <$simple>::take(from).and_then($back)
            }
        }
    )*};
}
as_simpler! {
    InvoiceId: [u8; 16], |id| *id.as_bytes(), |bytes| Some(Self::from_bytes(bytes));
    Txid: [u8; 32], |txid| txid.to_byte_array(), |bytes| Some(Self::from_byte_array(bytes));
    BlockHash: [u8; 32], |hash| hash.to_byte_array(), |bytes| Some(Self::from_byte_array(bytes));
    ScriptHash: [u8; 32], |hash| *hash.as_bytes(), |bytes| Some(Self::from_bytes(bytes));
    Ask: [u8; 32], |ask| ask.0, |bytes| Some(Self(bytes));
    OutPoint: (Txid, u32), |outpoint| (outpoint.txid, outpoint.vout),
        |(txid, vout)| Some(Self { txid, vout });
    Order: u64, |order| order.0, |number| Some(Self(number));
    Elapsed: u64, |time| time.millis(),
        |millis| (millis <= Self::MAX.millis()).then(|| Self::from_millis(millis));
    Merchant: String, |merchant| merchant.name().to_owned(), |name| Some(Self::named(name));
}

impl<const N: usize> Key for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        split(from)
    }
}

impl Key for Window {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Open => 0,
            Self::Late => 1,
        });
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        match split(from)? {
            [0] => Some(Self::Open),
            [1] => Some(Self::Late),
            [_] => None,
        }
    }
}

/// Ends itself, so that what follows it is found, and orders as the text does: the end (`00 00`) is below a zero
/// within (`00 FF`), which is below every other byte.
impl Key for String {
    fn put(&self, out: &mut Vec<u8>) {
        for byte in self.bytes() {
            out.push(byte);
            if byte == 0 {
                out.push(0xff);
            }
        }
        out.extend_from_slice(&[0, 0]);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let mut text = Vec::new();
        loop {
            match split(from)? {
                [0] => match split(from)? {
                    [0] => return Self::from_utf8(text).ok(),
                    [0xff] => text.push(0),
                    [_] => return None,
                },
                [byte] => text.push(byte),
            }
        }
    }
}

macro_rules! tuples {
    ($(($($part:ident $number:tt),*))*) => {$(
        impl<$($part: Key),*> Key for ($($part,)*) {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$number.put(out);)*
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(($($part::take(from)?,)*))
            }
        }
    )*};
}
tuples! {
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
}

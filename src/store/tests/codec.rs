//! Keys order as the ledger orders them; keys and records come back; no bytes make either panic.

use std::fmt::Debug;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::sample::Sample;
use crate::{
    invoice::{Elapsed, InvoiceId, Merchant, Order, Timestamp},
    ledger::{
        ReadError, Reads, Table,
        tables::{self, Ask, Events, ScriptRecord, Window, with_tables},
    },
    store::{family::Rests, keys, records},
};

fn keys_of<T: Rests>()
where
    T::Key: Sample + 'static,
{
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let pairs = (T::Key::sample(), T::Key::sample());
    runner
        .run(&pairs, |(one, other)| {
            let (one_bytes, other_bytes) = (keys::encode(&one), keys::encode(&other));
            prop_assert_eq!(one_bytes.cmp(&other_bytes), one.cmp(&other));
            prop_assert!(one == other || !other_bytes.starts_with(&one_bytes));
            prop_assert_eq!(keys::decode::<T::Key>(&one_bytes), Some(one));
            Ok(())
        })
        .unwrap();
    runner
        .run(&prop::collection::vec(u8::sample(), 0..100), |bytes| {
            if let Some(key) = keys::decode::<T::Key>(&bytes) {
                prop_assert_eq!(keys::encode(&key), bytes);
            }
            Ok(())
        })
        .unwrap();
}

fn records_of<T: Rests>()
where
    T::Value: Sample + Debug + 'static,
{
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let damage = (any::<prop::sample::Index>(), u8::sample());
    runner
        .run(&(T::Value::sample(), damage), |(record, (at, byte))| {
            let mut bytes = Vec::new();
            records::encode(&record, &mut bytes);
            prop_assert_eq!(records::decode::<T::Value>(&bytes), Ok(record));
            for length in 0..bytes.len() {
                let _ = records::decode::<T::Value>(&bytes[..length]);
            }
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = records::decode::<T::Value>(&bytes);
            Ok(())
        })
        .unwrap();
    runner
        .run(&prop::collection::vec(any::<u8>(), 0..100), |mut bytes| {
            let _ = records::decode::<T::Value>(&bytes);
            bytes.insert(0, 1);
            let _ = records::decode::<T::Value>(&bytes);
            Ok(())
        })
        .unwrap();
}

macro_rules! tests_of_tables {
    ($($(#[$doc:meta])* $table:ident, $field:ident: $key:ty => $value:ty;)*) => {$(
        mod $field {
            use super::*;

            #[test]
            fn keys() {
                keys_of::<tables::$table>();
            }

            #[test]
            fn records() {
                records_of::<tables::$table>();
            }
        }
    )*};
}
with_tables!(tests_of_tables);

fn bytes_of<R: records::Record>(record: &R) -> String {
    let mut bytes = Vec::new();
    records::encode(record, &mut bytes);
    hex::encode(bytes)
}

/// Stores of today are read tomorrow.
#[test]
fn bytes_that_never_change() {
    let key = (Window::Late, Ask([7; 32]), Order(258), 3u16);
    assert_eq!(
        hex::encode(keys::encode(&key)),
        "0107070707070707070707070707070707070707070707070707070707070707070000000000000102\
         0003"
    );
    let key = (Elapsed::from_millis(1), Merchant::named("a\0b"), "k".to_owned());
    assert_eq!(hex::encode(keys::encode(&key)), "00000000000000016100ff6200006b0000");
    let script = ScriptRecord {
        merchant: Merchant::named("shop"),
        first: Order(300),
        since: Timestamp::from_millis(5),
        released: false,
        taken: Vec::new(),
        node_time: None,
    };
    assert_eq!(bytes_of(&script), "010a0473686f7010ac021805");
    assert_eq!(bytes_of(&()), "01");
    assert_eq!(bytes_of(&InvoiceId::from_bytes([9; 16])), "010a1009090909090909090909090909090909");
}

/// A field of a later version is skipped.
#[test]
fn newer_records_are_read() {
    let newer = hex::decode("010a0473686f7010ac0218059a060568656c6c6f").unwrap();
    let script: ScriptRecord = records::decode(&newer).unwrap();
    assert_eq!((script.merchant.name(), script.first), ("shop", Order(300)));
}

#[test]
fn damaged_records_are_answered() {
    let (_directory, store) = super::fresh();
    let put = |key: &[u8], value: &[u8]| {
        store
            .with_database(|database| {
                let family = database.rocks().cf_handle(<Events as Rests>::FAMILY).unwrap();
                database.rocks().put_cf(family, key, value).unwrap();
            })
            .unwrap();
    };
    let refused = |key: &[u8], value: &[u8], why: &str| {
        put(key, value);
        let get: Result<_, ReadError> = Reads::<Events>::get(&store, &1);
        let range: Result<_, ReadError> = Reads::<Events>::range(&store, 0..=u64::MAX, 1);
        for ReadError(message) in [get.err(), range.err()].into_iter().flatten() {
            assert!(message.contains("`events`") && message.contains(why), "{message}");
        }
        assert!(Reads::<Events>::range(&store, 0..=u64::MAX, 1).is_err());
    };
    let key = 1u64.to_be_bytes();
    refused(&key, &[], "empty");
    refused(&key, &[9], "unknown encoding 9");
    refused(&key, &[1, 0xff], "does not decode");
    // A kind of event that there is not (tag 2, 99), and no subject at all.
    refused(&key, &[1, 0x10, 99], "subject");
    refused(&[0, 1], &[1], "key");
}

/// A word that this program does not know is an error, and never another word.
#[test]
fn unknown_words_are_refused() {
    // Phase 1, level 1, double spend 1: an invoice's state. Then each of them unknown or missing.
    let state = |bytes: &[u8]| records::decode::<crate::invoice::InvoiceState>(bytes);
    assert!(state(&[1, 0x08, 1, 0x18, 1, 0x30, 1]).is_ok());
    for wrong in [
        &[1, 0x08, 9, 0x18, 1, 0x30, 1][..],
        &[1, 0x08, 1, 0x18, 9, 0x30, 1],
        &[1, 0x08, 1, 0x18, 1, 0x30, 9],
        &[1, 0x18, 1, 0x30, 1],
        &[1, 0x08, 1, 0x30, 1],
        &[1, 0x08, 1, 0x18, 1],
    ] {
        assert!(matches!(state(wrong), Err(records::Damage::Field(_))), "{wrong:?}");
    }
}

/// The names of the families and the tables do not collide.
#[test]
fn every_table_has_a_family_of_its_own() {
    let mut names: Vec<_> = crate::store::family::names().collect();
    let families = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), families);
    fn family_of<T: Table + Rests>() -> &'static str {
        T::FAMILY
    }
    let mut tables = 0;
    macro_rules! each {
        ($($(#[$doc:meta])* $table:ident, $field:ident: $key:ty => $value:ty;)*) => {$(
            assert!(names.contains(&family_of::<tables::$table>()));
            tables += 1;
        )*};
    }
    with_tables!(each);
    assert_eq!(families, tables + 1);
}

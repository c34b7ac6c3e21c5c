//! How much is read for a transaction that pays very many: the work is bounded, and measured in records.

use std::{cell::Cell, ops::RangeInclusive, sync::Arc};

use super::{
    world::{block_hash, coin, draft, required, transaction},
    *,
};
use crate::{
    bch::Transaction,
    invoice::{FirstSeen, InvoiceId, Order, Reading, Sighting, Timestamp},
    ledger::tables::Records,
};

/// A store in memory that counts the records that are read.
#[derive(Default)]
struct Counted {
    view: MemoryView,
    read: Cell<usize>,
}

impl Counted {
    fn count(&self, records: usize) {
        self.read.set(self.read.get() + records);
    }
}

impl<T: Table> Reads<T> for Counted
where
    MemoryView: Reads<T>,
{
    fn get(&self, key: &T::Key) -> Result<Option<T::Value>, ReadError> {
        self.count(1);
        Reads::<T>::get(&self.view, key)
    }

    fn range(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Records<T>, ReadError> {
        let found = Reads::<T>::range(&self.view, keys, limit)?;
        self.count(1 + found.len());
        Ok(found)
    }

    fn last(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Records<T>, ReadError> {
        let found = Reads::<T>::last(&self.view, keys, limit)?;
        self.count(1 + found.len());
        Ok(found)
    }
}

const NOW: u64 = 1_800_000_000;

fn now() -> Reading {
    Reading::of_wall(Timestamp::from_secs(NOW))
}

impl Counted {
    fn apply(&mut self, action: Action) -> Outcome {
        let input = Input { at: now(), action };
        let Applied { changes, outcome } = apply(self, &Rules::default(), input).unwrap();
        self.view.commit(changes);
        outcome
    }

    /// So many invoices that ask for the same.
    fn with_equal_invoices(number: u16) -> Self {
        let mut store = Self::default();
        store.apply(Action::Anchor { height: 100, hash: block_hash(0), time_s: 1 });
        for tag in 0..number {
            let id = InvoiceId::from_bytes(u128::from(tag).to_be_bytes());
            let terms = draft(vec![required(1, 1000, None)]);
            let creation = Creation { id, merchant: shop(), draft: terms, idempotency: None };
            store.apply(Action::Create(Box::new(creation)));
        }
        store.read.set(0);
        store
    }

    fn seen(&self) -> FirstSeen {
        FirstSeen { sighting: Sighting::Order(Order(u64::MAX)), at: now().elapsed, shown: now().wall }
    }

    fn observe(&mut self, transaction: Arc<Transaction>) {
        let first_seen = self.seen();
        self.apply(Action::Observed { transaction, first_seen, observation: Observation::Mempool });
    }

    fn paid(&self) -> usize {
        self.view.invoices.values().filter(|record| record.state.level == Level::Paid).count()
    }
}

#[test]
fn outputs_that_are_alike_are_looked_up_once() {
    let read = |number: u16| {
        let mut store = Counted::with_equal_invoices(number + 50);
        let outputs = vec![(1, 1000, None); usize::from(number)];
        store.observe(transaction(&[coin(1)], &outputs));
        assert_eq!(store.paid(), usize::from(number), "the oldest got one each");
        let unpaid = store.view.invoices.values().filter(|record| record.state.level == Level::Unpaid);
        assert!(unpaid.clone().all(|record| record.invoice.registered > Order(u64::from(number))));
        store.read.get()
    };
    let (few, many) = (read(200), read(1600));
    assert!(many < 10 * few, "8 times as many outputs, and {many} reads instead of {few}");
    assert!(many < 1600 * 60, "{many} reads for 1600 outputs");
}

#[test]
fn outputs_that_nobody_asks_for_any_more_are_looked_up_once() {
    // Two invoices ask for the script, so nobody can say whose a surplus is.
    let mut store = Counted::with_equal_invoices(400);
    store.observe(transaction(&[coin(1)], &vec![(1, 1000, None); 398]));
    store.read.set(0);
    store.observe(transaction(&[coin(2)], &vec![(1, 999, None); 1000]));
    assert_eq!((store.paid(), store.view.unassigned.len()), (398, 1000));
    assert!(store.read.get() < 30_000, "{} reads for 1000 outputs", store.read.get());
}

#[test]
fn a_block_of_equal_payments_is_applied_in_parts() {
    let mut store = Counted::with_equal_invoices(1500);
    let transactions: Vec<_> =
        (0..1500u32).map(|tag| (transaction(&[coin(tag)], &[(1, 1000, None)]), Some(store.seen()))).collect();
    let (hash, height) = (block_hash(1), 101);
    let time_s = u32::try_from(NOW).unwrap();
    let (mut from, mut parts) = (0, 0);
    while from < transactions.len() {
        store.read.set(0);
        let left = transactions[from..].to_vec();
        let outcome = store.apply(Action::BlockPart { hash, height, time_s, transactions: left });
        let Outcome::Part { applied } = outcome else { panic!("{outcome:?}") };
        assert!(applied > 0);
        assert!(store.read.get() < 100_000, "{} reads in one input", store.read.get());
        (from, parts) = (from + applied, parts + 1);
    }
    assert!(parts > 2, "{parts} parts");
    assert_eq!(from, 1500);
    store.apply(Action::BlockConnected { hash, height });
    let confirmed = store.view.invoices.values().filter(|record| record.state.level == Level::Confirmed);
    assert_eq!(confirmed.count(), 1500);
}

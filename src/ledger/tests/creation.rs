//! Creation, and what is told of it.

use super::{
    world::{draft, required},
    *,
};
use crate::invoice::{Merchant, Statement};

fn key(name: &str, body: u8) -> Option<Idempotency> {
    Some(Idempotency { key: name.to_owned(), body: [body; 32], sent: [body + 100; 32] })
}

#[test]
fn an_invoice_is_in_the_index_when_its_creator_hears_of_it() {
    let mut world = World::new();
    let created = world.try_create(1, shop(), draft(vec![required(1, 1000, None)]), None);
    let told = created.statement().unwrap().clone();
    assert_eq!(told, world.statement(invoice_id(1)));
    assert_eq!(world.events(invoice_id(1)), [InvoiceCreated]);
    let event = &world.events_in_full(invoice_id(1))[0];
    assert_eq!(event.of_invoice(), Some((invoice_id(1), 1)));
    assert_eq!(event.merchant, shop());
}

#[test]
fn asked_again_the_answer_is_the_same() {
    let mut world = World::new();
    let terms = || draft(vec![required(1, 1000, None)]);
    let first = world.try_create(1, shop(), terms(), key("a", 1));
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    // The first answer, to the letter, though it is paid by now.
    assert_eq!(world.try_create(2, shop(), terms(), key("a", 1)), first);
    assert!(!world.changed);
    assert_eq!(world.try_create(2, shop(), terms(), key("a", 2)), Created::OtherBody);
    // The keys of merchants are their own.
    let theirs = || draft(vec![required(2, 1000, None)]);
    let other = world.try_create(3, Merchant::named("other"), theirs(), key("a", 2));
    assert_ne!(other, first);
    assert!(other.statement().is_some());

    world.tick_after(72 * 3600 - 1);
    assert_eq!(world.try_create(2, shop(), terms(), key("a", 1)), first);
    world.tick_after(1);
    assert!(world.view.idempotency.is_empty());
    let second = world.try_create(2, shop(), terms(), key("a", 2));
    assert_eq!(second.statement().map(|statement| statement.invoice.id), Some(invoice_id(2)));
}

#[test]
fn a_record_of_an_older_version_is_repeated_by_the_body_as_it_was_sent() {
    let mut world = World::new();
    let terms = || draft(vec![required(1, 1000, None)]);
    let older = Idempotency { key: "a".to_owned(), body: [7; 32], sent: [0; 32] };
    let first = world.try_create(1, shop(), terms(), Some(older));
    let now = |sent: u8| Some(Idempotency { key: "a".to_owned(), body: [8; 32], sent: [sent; 32] });
    assert_eq!(world.try_create(2, shop(), terms(), now(7)), first);
    assert_eq!(world.try_create(2, shop(), terms(), now(9)), Created::OtherBody);
}

#[test]
fn what_was_refused_is_not_remembered() {
    let mut world = World::new();
    world.create(1, &[(1, 1000)]);
    let other = || Merchant::named("other");
    let terms = draft(vec![required(1, 1000, None)]);
    let refused = world.try_create(2, other(), terms, key("a", 1));
    assert_eq!(refused, Created::ScriptOfAnother { index: 0 });
    let terms = draft(vec![required(2, 1000, None)]);
    assert!(world.try_create(2, other(), terms, key("a", 9)).statement().is_some());
}

#[test]
fn an_event_is_short_and_true() {
    let mut world = World::new();
    let id = world.create_draft(1, draft(vec![required(1, 100_000, None)]));
    // A stranger sends a lot of dust before the payer pays.
    let dust = world.pay(&[(1, 546); 150]);
    world.mempool(&dust);
    let tx = world.pay(&[(1, 100_000)]);
    world.mempool(&tx);
    let event = world.last_event().unwrap();
    assert_eq!((event.kind, event.txid), (PaymentReceived, Some(tx.txid())));
    let Subject::Invoice { statement, .. } = event.subject else { panic!() };
    assert_eq!(statement.credits.len(), MOST_CREDITS_IN_AN_EVENT);
    assert_eq!(statement.standing(), world.statement(id).standing());
    assert_eq!(statement.standing().amount_paid, 100_000 + 150 * 546);
    let now = world.statement(id);
    assert_eq!((now.total, now.credits.len()), (151, Statement::MOST_CREDITS));
    assert_eq!(now.credit(&tx.outpoint(0)).map(|credit| credit.satoshis), Some(100_000));
}

#[test]
fn the_log_is_read_from_anywhere() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    world.block(&[&tx]);
    let kinds = |n, limit| -> Vec<EventKind> {
        events_after(&world.view, id, n, limit).unwrap().iter().map(|event| event.kind).collect()
    };
    assert_eq!(kinds(0, 2), [InvoiceCreated, PaymentReceived]);
    assert_eq!(kinds(1, 9), [PaymentReceived, PaymentConfirmed]);
    assert_eq!(kinds(3, 9), []);
    assert_eq!(kinds(u64::MAX, 9), []);
    assert_eq!(event(&world.view, 2).unwrap().unwrap().kind, PaymentReceived);
    assert_eq!(statement(&world.view, invoice_id(9)), Ok(None));
}

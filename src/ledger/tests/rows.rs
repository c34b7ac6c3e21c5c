//! Which invoice an output pays (lifecycle 3.3 to 3.5), row by row.

use super::{
    world::{draft, required, transaction},
    *,
};
use crate::{
    bch::{Capability, Category, Nft, Token},
    invoice::Merchant,
};

#[test]
fn row_0_what_is_claimed_goes_to_whom_it_is_claimed_for() {
    let mut world = World::new();
    let older = world.create(1, &[(1, 1000)]);
    let younger = world.create(2, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    assert_eq!(world.claim(younger, &tx), Claimed::Open);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(younger)]);
    let credit = world.credit(&tx, 0).unwrap();
    assert_eq!((credit.via, credit.late, credit.ambiguous), (Via::Jpp, false, false));
    assert_eq!(world.status(older), Status::Pending);
}

#[test]
fn row_1_the_whole_set_comes_before_a_part_of_it() {
    let mut world = World::new();
    let part = world.create(1, &[(1, 1000), (3, 1)]);
    let whole = world.create(2, &[(1, 1000), (2, 500)]);
    let tx = world.pay(&[(2, 500), (9, 9), (1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(whole), None, Some(whole)]);
    assert_eq!(world.status(whole), Status::Paid);
    assert!(!world.statement(whole).state.ambiguous);
    assert_eq!(world.news(part), []);
}

#[test]
fn row_1_is_for_each_invoice_once() {
    // One transaction pays two invoices that ask for the same.
    let mut world = World::new();
    let ids = [world.create(1, &[(1, 1000)]), world.create(2, &[(1, 1000)])];
    let tx = world.pay(&[(1, 1000), (1, 1000), (1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.status(ids[0]), Status::Paid);
    assert_eq!(world.status(ids[1]), Status::Paid);
    // The third is a surplus, and nobody can say whose.
    assert_eq!(world.payees(&tx), [Some(ids[0]), Some(ids[1]), None]);
    assert_eq!(world.unassigned(), [(tx.outpoint(2), 1000)]);

    // Of a single one, what is over is over.
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000), (1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.statement(id).standing().overpaid, 1000);
    assert_eq!(world.news(id), [PaymentReceived]);
}

#[test]
fn row_2_an_exact_output() {
    let mut world = World::new();
    let other = world.create(1, &[(1, 2000)]);
    let id = world.create(2, &[(1, 1000), (2, 500)]);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(id)]);
    assert_eq!(world.news(id), [PartialPayment]);
    let tx = world.pay(&[(2, 500)]);
    world.mempool(&tx);
    assert_eq!(world.news(id), [PartialPayment, PaymentReceived]);
    assert_eq!(world.news(other), []);
}

#[test]
fn row_2_a_required_output_is_filled_once() {
    let mut world = World::new();
    let first = world.create(1, &[(1, 1000), (2, 500)]);
    let second = world.create(2, &[(1, 1000), (2, 700)]);
    for (payee, ambiguous) in [(first, true), (second, false)] {
        let tx = world.pay(&[(1, 1000)]);
        world.mempool(&tx);
        assert_eq!(world.payees(&tx), [Some(payee)]);
        assert_eq!(world.credit(&tx, 0).unwrap().ambiguous, ambiguous);
    }
}

#[test]
fn ties_go_to_the_oldest_and_are_marked() {
    let mut world = World::new();
    // Not in the order of their names.
    let [first, second] = [9, 3].map(|tag| world.create(tag, &[(1, 1000)]));
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(first)]);
    assert!(world.statement(first).state.ambiguous);
    assert!(!world.statement(second).state.ambiguous);
    let event = world.last_event().unwrap();
    assert_eq!(event.kind, PaymentReceived);
    let Subject::Invoice { statement, .. } = event.subject else { panic!() };
    assert!(statement.state.ambiguous);
    // With the first one paid, there is one left, and nothing is ambiguous.
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(second)]);
    assert!(!world.statement(second).state.ambiguous);
}

#[test]
fn rows_3_and_4_an_open_one_comes_before_a_late_one() {
    let mut world = World::new();
    let late = world.create(1, &[(1, 1000), (2, 500)]);
    world.tick_after(world::LIFE + 1);
    assert_eq!(world.status(late), Status::Expired);
    let open = world.create(2, &[(1, 1000)]);
    let whole = world.pay(&[(1, 1000), (2, 500)]);
    world.mempool(&whole);
    // The open one's whole set is in it, and then the late one's other output is exact.
    assert_eq!(world.payees(&whole), [Some(open), Some(late)]);
    assert!(world.credit(&whole, 1).unwrap().late);
    let again = world.pay(&[(1, 1000)]);
    world.mempool(&again);
    assert_eq!(world.payees(&again), [Some(late)]);
    assert_eq!(world.status(late), Status::Paid);
    assert!(world.statement(late).standing().settlement.unwrap().late);
}

#[test]
fn row_5_partial_amounts_accumulate() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let mut txs = Vec::new();
    for satoshis in [400, 599, 1, 250] {
        let tx = world.pay(&[(1, satoshis)]);
        world.mempool(&tx);
        txs.push(tx);
    }
    assert_eq!(world.credits(id), [(0, 400), (0, 599), (0, 1), (0, 250)]);
    assert_eq!(world.news(id), [PartialPayment, PartialPayment, PaymentReceived, PaymentRecorded]);
    let standing = world.statement(id).standing();
    assert_eq!((standing.amount_paid, standing.overpaid, standing.underpaid), (1250, 250, 0));
    assert_eq!(standing.settlement.unwrap().completed_by, txs[2].txid());
}

#[test]
fn row_5_goes_to_the_first_output_that_is_not_satisfied() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000), (1, 2000), (2, 5)]);
    for satoshis in [1500, 700, 1400, 1] {
        let tx = world.pay(&[(1, satoshis)]);
        world.mempool(&tx);
    }
    // A surplus on one never fills another.
    assert_eq!(world.credits(id), [(0, 1500), (1, 700), (1, 1400), (0, 1)]);
    // In one transaction it is no different.
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000), (1, 1000)]);
    let tx = world.pay(&[(1, 1500), (1, 1500)]);
    world.mempool(&tx);
    assert_eq!(world.credits(id), [(0, 1500), (1, 1500)]);
    assert_eq!(world.status(id), Status::Paid);
}

#[test]
fn row_5_needs_one_live_invoice() {
    let mut world = World::new();
    let ids = [world.create(1, &[(1, 1000)]), world.create(2, &[(1, 2000)])];
    let tx = world.pay(&[(1, 700)]);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [None]);
    assert_eq!(world.unassigned(), [(tx.outpoint(0), 700)]);
    assert_eq!(world.news(ids[0]), []);
    let event = world.last_event().unwrap();
    assert_eq!((event.kind, event.txid), (PaymentUnassigned, Some(tx.txid())));
    assert_eq!(event.subject, Subject::Unassigned { outpoint: tx.outpoint(0), satoshis: 700, reason: None });
    // Once the first is paid, the second is the only one.
    let exact = world.pay(&[(1, 1000)]);
    world.mempool(&exact);
    let tx = world.pay(&[(1, 700)]);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(ids[1])]);
}

#[test]
fn row_5_a_second_payment_is_over() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let [first, second] = [1000, 1000].map(|satoshis| world.pay(&[(1, satoshis)]));
    world.mempool(&first);
    world.mempool(&second);
    assert_eq!(world.news(id), [PaymentReceived, PaymentRecorded]);
    assert_eq!(world.statement(id).standing().overpaid, 1000);
    // If the first is lost, the invoice is still paid.
    world.lost(&first);
    assert_eq!(world.news(id), [PaymentReceived, PaymentRecorded, PaymentLost]);
    assert_eq!(world.statement(id).standing().settlement.unwrap().completed_by, second.txid());
}

#[test]
fn row_5_the_only_one_that_ever_asked() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    world.tick_after(world::LIFE + 1);
    world.tick_after(8 * 24 * 3600);
    assert!(world.statement(id).state.archived);
    let tx = world.pay(&[(1, 400)]);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(id)]);
    assert!(world.credit(&tx, 0).unwrap().late);
    let rest = world.pay(&[(1, 600)]);
    world.mempool(&rest);
    assert_eq!(world.status(id), Status::Paid);
    // Reverted, it is expired again, and stays out of the index.
    world.lost(&rest);
    assert_eq!(world.status(id), Status::Expired);
    // Had two asked, nobody could tell.
    let mut world = World::new();
    world.create(1, &[(1, 1000)]);
    world.create(2, &[(1, 1000)]);
    world.tick_after(world::LIFE + 1);
    world.tick_after(8 * 24 * 3600);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [None]);
    assert_eq!(world.unassigned().len(), 1);
}

#[test]
fn row_5_counts_only_who_was_there_before_the_transaction() {
    let mut world = World::new();
    let paid = world.create(1, &[(1, 1000)]);
    let first = world.pay(&[(1, 1000)]);
    world.mempool(&first);
    let tx = world.pay(&[(1, 30)]);
    let seen = world.seen_now();
    world.create(2, &[(1, 1000)]);
    world.observe_as(&tx, seen, Observation::Mempool);
    assert_eq!(world.payees(&tx), [Some(paid)]);
}

#[test]
fn scripts_of_strangers_are_no_business_of_ours() {
    let mut world = World::new();
    world.create(1, &[(1, 1000)]);
    let order = world.order();
    let tx = world.pay(&[(7, 1000)]);
    world.mempool(&tx);
    assert!(!world.changed);
    assert_eq!((world.order(), world.view.transactions.len()), (order, 0));
}

fn nft(amount: u64, commitment: &[u8]) -> Option<Token> {
    let nft = Nft { capability: Capability::None, commitment: commitment.to_vec() };
    Some(Token { category: Category::from_wire([4; 32]), amount, nft: Some(nft) })
}

#[test]
fn tokens_by_observation() {
    let table = [
        // Asked, paid, satoshis paid, settled, tokens over.
        (token(4, 5), token(4, 5), 1000, true, 0),
        (token(4, 5), token(4, 7), 1000, true, 2),
        (token(4, 5), token(4, 7), 1001, true, 2),
        (token(4, 5), token(4, 5), 999, false, 0),
        (token(4, 5), token(4, 4), 1000, false, 0),
        (token(4, 5), nft(5, b"x"), 1000, true, 0),
        (nft(0, b"x"), nft(0, b"x"), 1000, true, 0),
        (nft(0, b"x"), nft(3, b"x"), 1000, true, 3),
        (nft(0, b"x"), nft(0, b"y"), 1000, false, 0),
        (nft(0, b"x"), token(4, 9), 1000, false, 0),
    ];
    for (asked, paid, satoshis, settled, over) in table {
        let mut world = World::new();
        let id = world.create_draft(1, draft(vec![required(1, 1000, asked.clone())]));
        let tx = transaction(&[world.coin()], &[(1, satoshis, paid.clone())]);
        world.mempool(&tx);
        let standing = world.statement(id).standing();
        assert_eq!(standing.settlement.is_some(), settled, "{asked:?} {paid:?}");
        assert_eq!(standing.outputs[0].token_overpaid, over, "{asked:?} {paid:?}");
        assert_eq!(world.payees(&tx), [Some(id)]);
    }
}

#[test]
fn a_token_of_another_kind_pays_nobody() {
    for (asked, paid) in [(None, token(4, 5)), (token(4, 5), None), (token(4, 5), token(6, 5))] {
        let mut world = World::new();
        let id = world.create_draft(1, draft(vec![required(1, 1000, asked)]));
        let tx = transaction(&[world.coin()], &[(1, 1000, paid)]);
        world.mempool(&tx);
        assert_eq!(world.credits(id), []);
        assert_eq!(world.unassigned(), [(tx.outpoint(0), 1000)]);
    }
}

#[test]
fn shared_outputs_are_marked_or_refused() {
    let mut world = World::new();
    let first = world.create(1, &[(1, 1000), (2, 1)]);
    let alone = world.create(2, &[(1, 1001)]);
    let second = world.create(3, &[(3, 1), (1, 1000)]);
    let third = world.create(4, &[(1, 1000)]);
    for (id, shared) in [(first, true), (alone, false), (second, true), (third, true)] {
        assert_eq!(world.statement(id).state.shared, shared);
    }
    // The same twice in one invoice is nobody else's.
    let twice = world.create(5, &[(4, 10), (4, 10)]);
    assert!(!world.statement(twice).state.shared);

    let mut world = World::with(Rules { shared_outputs: SharedOutputs::Refuse, ..Rules::default() });
    let first = world.create(1, &[(1, 1000)]);
    let same = || draft(vec![required(2, 1, None), required(1, 1000, None)]);
    assert_eq!(world.try_create(2, shop(), same(), None), Created::Shared { index: 1 });
    assert!(!world.statement(first).state.shared);
    // A late one is live, a paid one is not.
    world.tick_after(world::LIFE + 1);
    assert_eq!(world.try_create(2, shop(), same(), None), Created::Shared { index: 1 });
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert!(world.try_create(2, shop(), same(), None).statement().is_some());
}

#[test]
fn a_script_has_one_merchant_for_ever() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let theirs = || draft(vec![required(2, 1, None), required(1, 77, None)]);
    let other = Merchant::named("other");
    let refused = Created::ScriptOfAnother { index: 1 };
    assert_eq!(world.try_create(2, other.clone(), theirs(), None), refused);
    assert_eq!(world.try_create(2, Merchant::anyone(), theirs(), None), refused);
    world.cancel(id);
    world.tick_after(30 * 24 * 3600);
    assert_eq!(world.try_create(2, other, theirs(), None), refused);
    assert!(world.try_create(2, shop(), theirs(), None).statement().is_some());
}

#[test]
fn a_fee_to_one_address_in_every_invoice_hides_nobody() {
    // Every invoice asks for the same small output beside its own, and one output of each is first.
    let mut world = World::new();
    let ids: Vec<_> = (0..200u8).map(|tag| world.create(tag, &[(tag, 5000), (250, 1)])).collect();
    for tag in [0, 57, 199u8] {
        let tx = world.pay(&[(250, 1), (tag, 5000)]);
        world.mempool(&tx);
        let id = ids[usize::from(tag)];
        assert_eq!(world.payees(&tx), [Some(id), Some(id)]);
        assert!(!world.statement(id).state.ambiguous);
    }
}

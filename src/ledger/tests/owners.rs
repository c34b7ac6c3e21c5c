//! The owner of a script, and the invoices that ask for the script when its owner changes.

use super::{
    world::{draft, required, script},
    *,
};
use crate::{
    bch::ScriptHash,
    invoice::{InvoiceId, Merchant, Statement},
};

fn other() -> Merchant {
    Merchant::named("other")
}

/// An invoice of a merchant, for these outputs.
fn by(world: &mut World, tag: u8, merchant: Merchant, outputs: &[(u8, u64)]) -> Created {
    let outputs = outputs.iter().map(|(tag, satoshis)| required(*tag, *satoshis, None)).collect();
    world.try_create(tag, merchant, draft(outputs), None)
}

fn made(created: &Created) -> InvoiceId {
    created.statement().unwrap().invoice.id
}

fn release(world: &mut World, tag: u8) {
    world.input(Action::ReleaseScript { script: ScriptHash::of(&script(tag)) });
}

#[test]
fn a_script_of_anyone_becomes_the_first_merchants() {
    let mut world = World::new();
    // A rival without a key asks for the shop's address first, again and again.
    let rivals: Vec<_> =
        (10..50).map(|tag| made(&by(&mut world, tag, Merchant::anyone(), &[(1, 1000)]))).collect();
    let before = world.pay(&[(1, 1000)]);
    world.mempool(&before);
    assert_eq!(world.payees(&before), [Some(rivals[0])], "until then it was anyone's");
    let created = by(&mut world, 1, shop(), &[(1, 1000)]);
    let shops = made(&created);
    assert!(!created.statement().unwrap().state.shared, "what is paid by claims alone takes nothing away");
    assert_eq!(world.payees(&before), [Some(rivals[0])], "a credit does not move by itself");

    let (part, rest, over) = (world.pay(&[(1, 400)]), world.pay(&[(1, 600)]), world.pay(&[(1, 1000)]));
    for tx in [&part, &rest] {
        world.mempool(tx);
        assert_eq!(world.payees(tx), [Some(shops)]);
    }
    assert_eq!(world.status(shops), Status::Paid);
    // With all of the shop's invoices paid, the next payment is the shop's, and no rival's.
    world.mempool(&over);
    assert_eq!(world.payees(&over), [Some(shops)]);
    let second = made(&by(&mut world, 2, shop(), &[(1, 700)]));
    let third = made(&by(&mut world, 3, shop(), &[(1, 800)]));
    let strange = world.pay(&[(1, 5)]);
    world.mempool(&strange);
    assert_eq!(world.payees(&strange), [None]);
    assert_eq!(world.unassigned(), [(strange.outpoint(0), 5)], "it is told to the shop");
    assert_eq!((world.status(second), world.status(third)), (Status::Pending, Status::Pending));

    // By its own claim an invoice of anyone is paid as before.
    let claimed = world.pay(&[(1, 1000)]);
    assert_eq!(world.claim(rivals[7], &claimed), Claimed::Open);
    world.mempool(&claimed);
    assert_eq!(world.payees(&claimed), [Some(rivals[7])]);
    assert_eq!(world.status(rivals[7]), Status::Paid);
    world.block(&[&claimed, &part, &rest]);
    world.tick_after(world::LIFE * 2);

    for merchant in [Merchant::anyone(), other()] {
        let refused = by(&mut world, 4, merchant, &[(1, 1000)]);
        assert_eq!(refused, Created::ScriptOfAnother { index: 0 });
    }
}

#[test]
fn so_many_invoices_of_anyone_hide_nothing() {
    let mut world = World::new();
    for tag in 0..=255u8 {
        if tag != 1 {
            by(&mut world, tag, Merchant::anyone(), &[(1, 1000), (1, 1000)]);
        }
    }
    let shops = made(&by(&mut world, 1, shop(), &[(1, 1000)]));
    let part = world.pay(&[(1, 300)]);
    world.mempool(&part);
    assert_eq!(world.payees(&part), [Some(shops)]);
}

#[test]
fn a_whole_set_of_anyone_takes_nothing_of_a_script_that_is_a_merchants() {
    let mut world = World::new();
    let rival = made(&by(&mut world, 10, Merchant::anyone(), &[(1, 1000), (2, 500)]));
    let shops = made(&by(&mut world, 1, shop(), &[(1, 1000)]));
    let tx = world.pay(&[(2, 500), (1, 1000)]);
    world.mempool(&tx);
    // The script of the second output is anyone's still.
    assert_eq!(world.payees(&tx), [Some(rival), Some(shops)]);
    assert_eq!((world.status(shops), world.status(rival)), (Status::Paid, Status::Pending));
}

#[test]
fn between_merchants_the_operator_alone_makes_a_change() {
    let mut world = World::new();
    let first = made(&by(&mut world, 1, shop(), &[(1, 1000)]));
    world.tick_after(world::LIFE * 2);
    world.tick_after(400 * 24 * 3600);
    assert_eq!(by(&mut world, 2, other(), &[(1, 1000)]), Created::ScriptOfAnother { index: 0 });
    let late = world.pay(&[(1, 1000)]);
    world.mempool(&late);
    assert_eq!(world.payees(&late), [Some(first)]);

    release(&mut world, 1);
    release(&mut world, 1);
    assert!(!world.changed, "once is enough");
    release(&mut world, 9);
    assert!(!world.changed, "nobody asked for that one");
    // Until somebody asks, what comes is the old owner's.
    let meanwhile = world.pay(&[(1, 7)]);
    world.mempool(&meanwhile);
    assert_eq!(world.payees(&meanwhile), [Some(first)]);

    let second = made(&by(&mut world, 2, other(), &[(1, 1000)]));
    let (exact, odd) = (world.pay(&[(1, 1000)]), world.pay(&[(1, 8)]));
    world.mempool(&exact);
    world.mempool(&odd);
    assert_eq!((world.payees(&exact), world.payees(&odd)), (vec![Some(second)], vec![Some(second)]));
    assert_eq!(by(&mut world, 3, shop(), &[(1, 1000)]), Created::ScriptOfAnother { index: 0 });
    // A reorg takes the credits of both nowhere else.
    world.block(&[&late, &exact]);
    world.disconnect();
    world.lost(&late);
    world.mempool(&late);
    assert_eq!((world.payees(&late), world.payees(&exact)), (vec![Some(first)], vec![Some(second)]));
}

#[test]
fn an_owner_who_asks_again_stays_the_owner() {
    let mut world = World::new();
    by(&mut world, 1, shop(), &[(1, 1000)]);
    release(&mut world, 1);
    assert!(by(&mut world, 2, shop(), &[(1, 2000)]).statement().is_some());
    assert_eq!(by(&mut world, 3, other(), &[(1, 1000)]), Created::ScriptOfAnother { index: 0 });
    // [`Merchant::anyone`] can take a released script, and a merchant with a key can take it from there.
    release(&mut world, 1);
    assert!(by(&mut world, 4, Merchant::anyone(), &[(1, 1000)]).statement().is_some());
    let third = made(&by(&mut world, 5, other(), &[(1, 1000)]));
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(third)]);
}

#[test]
fn index_entries_of_an_earlier_era_are_retired_with_their_invoice() {
    let retention = Some(std::time::Duration::from_secs(24 * 3600));
    let mut world = World::with(Rules { retention, ..Rules::default() });
    by(&mut world, 10, Merchant::anyone(), &[(1, 1000)]);
    by(&mut world, 1, shop(), &[(1, 1000)]);
    world.tick_after(world::LIFE * 2);
    world.tick_after(8 * 24 * 3600);
    world.tick_after(8 * 24 * 3600);
    assert!(world.view.ever.is_empty() && world.view.exact.is_empty() && world.view.live.is_empty());
}

/// The refusal says which output, and a draft of several is refused as a whole.
#[test]
fn nothing_is_taken_by_a_creation_that_is_refused() {
    let mut world = World::new();
    by(&mut world, 1, shop(), &[(1, 1000)]);
    by(&mut world, 2, Merchant::anyone(), &[(2, 1000)]);
    let refused = by(&mut world, 3, other(), &[(2, 1000), (1, 1000)]);
    assert_eq!(refused, Created::ScriptOfAnother { index: 1 });
    let tx = world.pay(&[(2, 1000)]);
    world.mempool(&tx);
    let statement: Statement = world.statement(invoice_id(2));
    assert_eq!(statement.credits.len(), 1, "the script of the first output is anyone's still");
}

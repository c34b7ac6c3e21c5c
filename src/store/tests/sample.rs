//! Arbitrary keys and records: small values that collide, edges, and anything.

use std::time::Duration;

use bitcoincash::hashes::Hash as _;
use bytes::Bytes;
use proptest::{prelude::*, sample::select};

use crate::{
    bch::{
        BlockHash, Capability, Category, FeeRate, Nft, OutPoint, ProofScore, ScriptBuf, ScriptHash, Token,
        Txid,
    },
    invoice::{
        Completion, Credit, CreditState, DoubleSpend, Elapsed, FirstSeen, Invoice, InvoiceId, InvoiceState,
        Level, Merchant, NodeTime, Order, OutputStanding, Paid, PayerNote, Phase, Refund, RequiredOutput,
        Risk, Settlement, Settling, Sighting, Standing, Statement, Status, Timestamp, Via, ZeroConf,
    },
    ledger::{
        Event, EventKind, Subject,
        tables::{
            Ask, BlockRecord, Claim, ClaimState, IdempotencyRecord, InvoiceRecord, Meta, Place, ScriptRecord,
            TransactionRecord, UnassignedPayment, UnassignedReason, Window,
        },
    },
};

/// What can be drawn.
pub(super) trait Sample: Sized {
    fn sample() -> BoxedStrategy<Self>;
}

macro_rules! numbers {
    ($($number:ident),*) => {$(
        impl Sample for $number {
            fn sample() -> BoxedStrategy<Self> {
                let edges = vec![0, 1, 2, 0x7f, 0x80, 0xff, $number::MAX / 2, $number::MAX - 1, $number::MAX];
                prop_oneof![2 => select(edges), 1 => any::<$number>()].boxed()
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64);

impl<const N: usize> Sample for [u8; N] {
    fn sample() -> BoxedStrategy<Self> {
        let few = (select(vec![0u8, 1, 0x80, 0xff]), select(vec![0u8, 0xff]), any::<bool>());
        let few = few.prop_map(|(all, one, first)| {
            let mut bytes = [all; N];
            bytes[if first { 0 } else { N - 1 }] = one;
            bytes
        });
        prop_oneof![3 => few, 1 => any::<[u8; N]>()].boxed()
    }
}

impl Sample for String {
    fn sample() -> BoxedStrategy<Self> {
        let few = ["", "a", "\0", "a\0", "a\0\0", "a\0b", "a\u{1}", "ab", "\u{ff}", "\u{10ffff}"];
        prop_oneof![3 => select(few.map(str::to_owned).to_vec()), 1 => ".{0,8}"].boxed()
    }
}

impl Sample for () {
    fn sample() -> BoxedStrategy<Self> {
        Just(()).boxed()
    }
}

impl Sample for bool {
    fn sample() -> BoxedStrategy<Self> {
        any::<bool>().boxed()
    }
}

impl<T: Sample + Clone + std::fmt::Debug + 'static> Sample for Option<T> {
    fn sample() -> BoxedStrategy<Self> {
        prop::option::of(T::sample()).boxed()
    }
}

impl<T: Sample + Clone + std::fmt::Debug + 'static> Sample for Vec<T> {
    fn sample() -> BoxedStrategy<Self> {
        prop::collection::vec(T::sample(), 0..4).boxed()
    }
}

macro_rules! tuples {
    ($(($($part:ident),*))*) => {$(
        impl<$($part: Sample + Clone + std::fmt::Debug + 'static),*> Sample for ($($part,)*) {
            fn sample() -> BoxedStrategy<Self> {
                ($($part::sample(),)*).boxed()
            }
        }
    )*};
}
tuples!((A, B)(A, B, C)(A, B, C, D));

/// What is made of something simpler.
macro_rules! made_of {
    ($($type:ty: $simple:ty, $make:expr;)*) => {$(
        impl Sample for $type {
            fn sample() -> BoxedStrategy<Self> {
                <$simple as Sample>::sample().prop_map($make).boxed()
            }
        }
    )*};
}
made_of! {
    InvoiceId: [u8; 16], Self::from_bytes;
    Txid: [u8; 32], Self::from_byte_array;
    BlockHash: [u8; 32], Self::from_byte_array;
    ScriptHash: [u8; 32], Self::from_bytes;
    Category: [u8; 32], Self::from_wire;
    Ask: [u8; 32], Self;
    OutPoint: (Txid, u32), |(txid, vout)| Self { txid, vout };
    Order: u64, Self;
    Timestamp: u64, Self::from_millis;
    Elapsed: u64, Self::from_millis;
    NodeTime: u64, Self::from_millis;
    Merchant: String, Self::named;
    FeeRate: u64, |rate| Self::from_millisatoshis(rate).unwrap_or(Self::MAX);
    ProofScore: u32, |score| Self::from_thousandths(score).unwrap_or(Self::FULL);
    Duration: u64, Self::from_millis;
    ScriptBuf: Vec<u8>, Self::from;
    Bytes: Vec<u8>, Self::from;
    Box<Statement>: Statement, Self::new;
    Box<Standing>: Standing, Self::new;
}

macro_rules! one_of {
    ($($type:ty { $($one:expr),* $(,)? })*) => {$(
        impl Sample for $type {
            fn sample() -> BoxedStrategy<Self> {
                prop_oneof![$($one),*].boxed()
            }
        }
    )*};
}
one_of! {
    Window { Just(Self::Open), Just(Self::Late) }
    Capability { Just(Self::None), Just(Self::Mutable), Just(Self::Minting) }
    Level { Just(Self::Unpaid), Just(Self::Held), Just(Self::Paid), Just(Self::Confirmed) }
    DoubleSpend { Just(Self::None), Just(Self::Proof), Just(Self::Conflict) }
    Via { select(Self::ALL.to_vec()) }
    Status {
        Just(Self::Pending),
        Just(Self::Paid),
        Just(Self::Confirmed),
        Just(Self::Expired),
        Just(Self::Cancelled),
    }
    EventKind { select(Self::ALL.to_vec()) }
    ClaimState { Just(Self::Open), Just(Self::Ended) }
    UnassignedReason { Just(Self::MayBeOlder) }
    Phase {
        Just(Self::Open),
        Elapsed::sample().prop_map(|at| Self::Expired { at }),
        Elapsed::sample().prop_map(|at| Self::Cancelled { at }),
    }
    Sighting {
        Order::sample().prop_map(Self::Order),
        <(u64, Option<Order>)>::sample().prop_map(|(secs, noted)| Self::MempoolTime { secs, noted }),
        Order::sample().prop_map(Self::Block),
    }
    CreditState {
        Just(Self::Seen),
        Just(Self::Held),
        Just(Self::Mempool),
        <(u32, BlockHash)>::sample().prop_map(|(height, hash)| Self::Confirmed { height, hash }),
        Just(Self::Lost),
    }
    Place {
        Just(Self::Claimed),
        Just(Self::Seen),
        Just(Self::Mempool),
        <(u32, BlockHash)>::sample().prop_map(|(height, hash)| Self::Block { height, hash }),
        Just(Self::Lost),
    }
    Subject {
        <(u64, Box<Statement>)>::sample().prop_map(|(n, statement)| Self::Invoice { n, statement }),
        <(OutPoint, u64, Option<UnassignedReason>)>::sample()
            .prop_map(|(outpoint, satoshis, reason)| Self::Unassigned { outpoint, satoshis, reason }),
    }
}

/// In two parts, for it has more fields than proptest has tuples.
impl Sample for Credit {
    fn sample() -> BoxedStrategy<Self> {
        let facts = (
            OutPoint::sample(),
            InvoiceId::sample(),
            u16::sample(),
            u64::sample(),
            Option::sample(),
            u64::sample(),
        );
        let rest = (
            CreditState::sample(),
            Via::sample(),
            <(bool, bool)>::sample(),
            Timestamp::sample(),
            <(Option<Elapsed>, Option<Timestamp>)>::sample(),
            Risk::sample(),
        );
        let make = |((outpoint, invoice, output, satoshis, token, ordinal), rest)| {
            let (state, via, (late, ambiguous), first_seen, (held_since, live_since), risk) = rest;
            Self {
                outpoint,
                invoice,
                output,
                satoshis,
                token,
                ordinal,
                state,
                via,
                late,
                ambiguous,
                first_seen,
                held_since,
                live_since,
                risk,
            }
        };
        (facts, rest).prop_map(make).boxed()
    }
}

/// In three parts, for the same reason.
impl Sample for Invoice {
    fn sample() -> BoxedStrategy<Self> {
        let names =
            (InvoiceId::sample(), Merchant::sample(), Vec::sample(), Option::sample(), Option::sample());
        let times = (Timestamp::sample(), Timestamp::sample(), Elapsed::sample(), Option::sample());
        let terms = (FeeRate::sample(), u8::sample(), Option::sample(), Order::sample());
        let make = |(names, times, terms)| {
            let (id, merchant, outputs, memo, merchant_data) = names;
            let (created, expires, deadline, node_time) = times;
            let (fee_rate, confirmations_required, zero_conf, registered) = terms;
            Self {
                id,
                merchant,
                outputs,
                memo,
                merchant_data,
                created,
                expires,
                deadline,
                node_time,
                fee_rate,
                confirmations_required,
                zero_conf,
                registered,
            }
        };
        (names, times, terms).prop_map(make).boxed()
    }
}

/// What the field of a struct can be; its name is for nobody but the macro.
fn field<T: Sample>(_name: &str) -> BoxedStrategy<T> {
    T::sample()
}

macro_rules! structs {
    ($($type:ident { $($field:ident),* $(,)? })*) => {$(
        impl Sample for $type {
            fn sample() -> BoxedStrategy<Self> {
                ($(field(stringify!($field)),)*).prop_map(|($($field,)*)| Self { $($field),* }).boxed()
            }
        }
    )*};
}
structs! {
    Nft { capability, commitment }
    Token { category, amount, nft }
    RequiredOutput { address, script, satoshis, token, description }
    ZeroConf { min_score, wait }
    Risk { score, double_spend }
    InvoiceState { phase, level, shared, ambiguous, double_spend, open_claims, events, archived }
    InvoiceRecord { invoice, state, paid }
    Paid { credits, there, ambiguous, counted, with_held, settling }
    Settling { txids, ordinals, last, late, outside, height, completed }
    Completion { by, paid_at, via }
    FirstSeen { sighting, at, shown }
    TransactionRecord { raw, first_seen, place, outputs, coinbase }
    Refund { script, address, satoshis }
    PayerNote { memo, refund_to }
    Claim { assignment, note, via, claimed, state }
    ScriptRecord { merchant, first, since, node_time, released, taken }
    OutputStanding { credited, satisfied, token_overpaid }
    Settlement { txids, completed_by, paid_at, via, late, confirmations, in_blocks }
    Standing { status, outputs, amount_paid, overpaid, underpaid, late, settlement }
    Statement { invoice, state, credits, total, note, tip_height, abridged }
    Event { seq, kind, at, merchant, txid, subject }
    UnassignedPayment { merchant, script, satoshis, token, first_seen, ordinal, reason }
    IdempotencyRecord { body, invoice }
    BlockRecord { height, begun, time_s }
    Meta { order, ordinal, seq, now, wall, node, tip, under_way }
}

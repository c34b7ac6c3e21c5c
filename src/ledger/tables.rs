//! The ledger's tables, typed: what is kept, under which key.
//!
//! A table here is a name, a key and a value; how they look on disk is the store's business. Keys are ordered, and
//! the ledger relies on that order (the oldest registration first, the earliest expiry first), so a store must
//! keep it.

use std::{collections::BTreeMap, fmt::Debug, ops::RangeInclusive};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Event;
use crate::{
    bch::{BlockHash, OutPoint, ScriptHash, Token, Txid},
    invoice::{
        Age, Credit, Elapsed, FirstSeen, Invoice, InvoiceId, InvoiceState, Merchant, NodeTime, Order, Paid,
        PayerNote, Timestamp, Via,
    },
};

/// A table: its key and its value.
pub trait Table {
    /// What a record is found by.
    type Key: Ord + Clone + Debug;
    /// The record.
    type Value: Clone + Debug + PartialEq;
}

/// Records of a table with their keys.
pub type Records<T> = Vec<(<T as Table>::Key, <T as Table>::Value)>;

/// Calls a macro with every table, so that what must be said of each of them is said in one place.
macro_rules! with_tables {
    ($callback:path) => {
        $callback! {
            /// Invoices with their state.
            Invoices, invoices: InvoiceId => InvoiceRecord;
            /// Credits by the output they count.
            Credits, credits: OutPoint => Credit;
            /// The credits of an invoice, in the order of crediting.
            CreditsOf, credits_of: (InvoiceId, u64) => OutPoint;
            /// Transactions that credits, claims or unassigned payments are about.
            Transactions, transactions: Txid => TransactionRecord;
            /// What those transactions spend: how a conflict is noticed.
            Spends, spends: OutPoint => Vec<Txid>;
            /// Those of them that are not in a block, and not lost.
            Unconfirmed, unconfirmed: Txid => ();
            /// Those of them that are in a block.
            BlockTransactions, block_transactions: (BlockHash, Txid) => ();
            /// Submissions: which output of a transaction is reserved for which required output.
            Claims, claims: (Txid, InvoiceId) => Claim;
            /// Open claims by the moment they are given up.
            OpenClaims, open_claims: (Elapsed, Txid, InvoiceId) => ();
            /// Every script that was ever asked for.
            Scripts, scripts: ScriptHash => ScriptRecord;
            /// What live invoices ask for exactly, the oldest registration first.
            Exact, exact: (Window, Ask, Order, u16) => InvoiceId;
            /// Which live invoices ask for a script and kind of token at all.
            Live, live: (Ask, Order, u16) => InvoiceId;
            /// Which invoices ever asked for a script and kind of token.
            Ever, ever: (Ask, Order, u16) => InvoiceId;
            /// Held credits by the moment that their wait is over.
            Held, held: (Elapsed, OutPoint) => ();
            /// Open invoices by their deadline.
            Expiries, expiries: (Elapsed, InvoiceId) => ();
            /// Expired and cancelled invoices by the end of their late window.
            LateEnds, late_ends: (Elapsed, InvoiceId) => ();
            /// Archived invoices by the moment that nothing but their script finds them any more.
            Retirements, retirements: (Elapsed, InvoiceId) => ();
            /// Invoices that are settled in blocks, and wait for more of them.
            Awaiting, awaiting: InvoiceId => ();
            /// Coinbases by the height that makes them spendable.
            Maturing, maturing: (u32, Txid) => ();
            /// The event log.
            Events, events: u64 => Event;
            /// The events of an invoice by their number there.
            EventsOf, events_of: (InvoiceId, u64) => u64;
            /// Payments that no invoice could be found for.
            Unassigned, unassigned: OutPoint => UnassignedPayment;
            /// The same by their merchant.
            UnassignedOf, unassigned_of: (Merchant, u64) => OutPoint;
            /// Answers to creations that may be asked again.
            Idempotency, idempotency: (Merchant, String) => IdempotencyRecord;
            /// The same by the moment they are forgotten.
            IdempotencyEnds, idempotency_ends: (Elapsed, Merchant, String) => ();
            /// The node's chain as far as we walked it, by height.
            Chain, chain: u32 => BlockHash;
            /// Every block we met, on the chain or not any more.
            Blocks, blocks: BlockHash => BlockRecord;
            /// The counters.
            Counters, counters: () => Meta;
        }
    };
}
pub(crate) use with_tables;

/// What a view must be able to read of one table.
pub trait Reads<T: Table> {
    /// The record of a key.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the store cannot be read.
    fn get(&self, key: &T::Key) -> Result<Option<T::Value>, ReadError>;

    /// Up to `limit` records of a range of keys, in order.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the store cannot be read.
    fn range(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Records<T>, ReadError>;

    /// Up to `limit` records of the end of a range of keys, the last first.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the store cannot be read.
    fn last(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Records<T>, ReadError>;
}

/// The store could not be read, or what it holds is damaged. The disk is at fault, or a bug of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store could not be read: {0}")]
pub struct ReadError(pub String);

/// The changed records of one table: a record that was written, or `None` for one that was removed.
pub type TableChanges<T> = BTreeMap<<T as Table>::Key, Option<<T as Table>::Value>>;

/// Changes that know one table.
pub trait Holds<T: Table> {
    /// The changed records of the table.
    fn table(&self) -> &TableChanges<T>;
    /// The same, to be added to.
    fn table_mut(&mut self) -> &mut TableChanges<T>;
}

macro_rules! define_tables {
    ($($(#[$doc:meta])* $table:ident, $field:ident: $key:ty => $value:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $table;

            impl Table for $table {
                type Key = $key;
                type Value = $value;
            }
        )*

        /// What one or more inputs change, table by table: one atomic write.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Changes {
            $(
                $(#[$doc])*
                pub $field: TableChanges<$table>,
            )*
        }

        $(
            impl Holds<$table> for Changes {
                fn table(&self) -> &TableChanges<$table> {
                    &self.$field
                }

                fn table_mut(&mut self) -> &mut TableChanges<$table> {
                    &mut self.$field
                }
            }
        )*

        impl Changes {
            /// Adds later changes on top of these.
            pub fn extend(&mut self, later: Self) {
                $(self.$field.extend(later.$field);)*
            }

            /// Whether nothing changes.
            pub fn is_empty(&self) -> bool {
                $(self.$field.is_empty())&&*
            }
        }

        /// Everything the ledger reads: a view of every table.
        pub trait View: $(Reads<$table> +)* {}

        impl<V> View for V where V: $(Reads<$table> +)* {}
    };
}
with_tables!(define_tables);

/// An invoice as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceRecord {
    /// What was asked.
    pub invoice: Invoice,
    /// What changed since.
    pub state: InvoiceState,
    /// Payment totals over all credits of the invoice. `None` in records of programs that summed the credits anew each
    /// time; the first change of the invoice fills the totals in.
    pub paid: Option<Paid>,
}

/// Where a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Submitted to us; nobody else was heard to know it.
    Claimed,
    /// Heard of from the node, which publishes mined and disconnected transactions too.
    Seen,
    /// In the node's mempool.
    Mempool,
    /// In a block of the node's chain.
    Block {
        /// The height of the block.
        height: u32,
        /// Its hash.
        hash: BlockHash,
    },
    /// Neither in a block nor in the mempool any more.
    Lost,
    /// It was in the mempool, and was mined in a block that the node deleted before it was walked, or lost to a rival
    /// there: nobody can tell any more. It counts as it did, and is not looked for.
    Missed,
}

/// A transaction that matters to some invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionRecord {
    /// Its bytes, to send it again.
    pub raw: Bytes,
    /// When it was first seen; `None` while it was only submitted.
    pub first_seen: Option<FirstSeen>,
    /// Where it is.
    pub place: Place,
    /// How many outputs it has: how far to look for its children.
    pub outputs: u32,
    /// Whether it is the first of a block.
    pub coinbase: bool,
}

/// Where a claim is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// It reserves its outputs.
    Open,
    /// Its transaction was seen, or it was given up: a preference remains.
    Ended,
}

/// A submission of one transaction for one invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which output of the transaction is for which required output.
    pub assignment: Vec<(u32, u16)>,
    /// What the payer said.
    pub note: PayerNote,
    /// How it came.
    pub via: Via,
    /// When, in elapsed time.
    pub claimed: Elapsed,
    /// Where it is in its life.
    pub state: ClaimState,
}

/// A script that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptRecord {
    /// Its owner: who asked for it first, and alone may ask for it again. What only [`Merchant::anyone`] asked for becomes
    /// the first merchant's who asks with a key; what the operator released becomes the next one's who asks.
    pub merchant: Merchant,
    /// When it was first asked for: what came before is no business of ours.
    pub first: Order,
    /// Time of the wall clock when the script was first asked for.
    pub since: Timestamp,
    /// Whether the operator released it: the next one who asks becomes its owner.
    pub released: bool,
    /// The inputs with which it got another owner, in order.
    pub taken: Vec<Order>,
    /// Time of the node's clock when the script was first asked for; `None` if that time was not known.
    pub node_time: Option<NodeTime>,
}

impl ScriptRecord {
    /// Whether a merchant may ask for it.
    pub fn is_free_for(&self, merchant: &Merchant) -> bool {
        self.merchant == *merchant || self.merchant.is_anyone() || self.released
    }

    /// How often it changed its owner. What was registered in an earlier era is paid by its own claims only.
    pub fn era(&self) -> u32 {
        u32::try_from(self.taken.len()).unwrap_or(u32::MAX)
    }

    /// In which era something was registered.
    pub fn era_of(&self, registered: Order) -> u32 {
        let before = self.taken.iter().filter(|taken| **taken <= registered).count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    /// The input with which the present era began.
    pub fn owned_since(&self) -> Order {
        self.taken.last().copied().unwrap_or(self.first)
    }

    /// Whether a transaction came after the script was first asked for.
    pub fn age_of(&self, seen: &FirstSeen) -> Age {
        seen.age(self.first, self.node_time, self.since)
    }
}

/// Whether an invoice is in time or late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// Pending and not expired.
    Open,
    /// Expired or cancelled less than the late window ago.
    Late,
}

/// What is asked for, as a digest: a script with satoshis and a token, or a script with a kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask(pub [u8; 32]);

impl Ask {
    /// Exactly this: a script in one of its eras ([`ScriptRecord::era`]), satoshis, and a token or none.
    pub fn exactly(script: &ScriptHash, era: u32, satoshis: u64, token: Option<&Token>) -> Self {
        let mut digest = Self::of_script(b"exact", script, era);
        digest.update(satoshis.to_be_bytes());
        if let Some(token) = token {
            digest.update(token.category.wire());
            digest.update(token.amount.to_be_bytes());
            if let Some(nft) = &token.nft {
                digest.update(nft.capability.name());
                digest.update(b"/");
                digest.update(&nft.commitment);
            }
        }
        Self(digest.finalize().into())
    }

    /// Anything of this kind: a script in one of its eras, and a category of tokens or none.
    pub fn of_kind(script: &ScriptHash, era: u32, token: Option<&Token>) -> Self {
        let mut digest = Self::of_script(b"kind", script, era);
        if let Some(token) = token {
            digest.update(token.category.wire());
        }
        Self(digest.finalize().into())
    }
}

impl Ask {
    /// The first era is not in the digest: those that lie on disk from before there were eras are of the first.
    fn of_script(word: &[u8], script: &ScriptHash, era: u32) -> Sha256 {
        let mut digest = Sha256::new_with_prefix(word);
        if era > 0 {
            digest.update(b"-in-era");
            digest.update(era.to_be_bytes());
        }
        digest.update(script.as_bytes());
        digest
    }
}

/// A payment to a script of ours that no invoice could be found for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnassignedPayment {
    /// Who asked for the script.
    pub merchant: Merchant,
    /// The script.
    pub script: ScriptHash,
    /// What was paid, in satoshis.
    pub satoshis: u64,
    /// The tokens that came with it.
    pub token: Option<Token>,
    /// When it was first seen.
    pub first_seen: FirstSeen,
    /// Its place in the order of crediting.
    pub ordinal: u64,
    /// Why no invoice got it, where that is more than that none asks for such a payment.
    pub reason: Option<UnassignedReason>,
}

/// Why no invoice got a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnassignedReason {
    /// By the node's clock it came up to two minutes before the invoice, and nothing else tells.
    MayBeOlder,
}

impl UnassignedReason {
    /// The word of the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::MayBeOlder => "may_be_older",
        }
    }
}

/// A creation that may be asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The SHA-256 of the canonical form of the body it came with; in records of older versions, of the body as it was
    /// sent.
    pub body: [u8; 32],
    /// The invoice it made.
    pub invoice: InvoiceId,
}

/// A block we met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockRecord {
    /// Its height.
    pub height: u32,
    /// The input that brought its first part, when it was met first.
    pub begun: Order,
    /// The miner's word for when it was found, in seconds since 1970; `None` in the records of programs that did not
    /// keep it.
    pub time_s: Option<u32>,
}

/// The counters, and the end of the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The number of the last input.
    pub order: Order,
    /// The last place in the order of crediting.
    pub ordinal: u64,
    /// The number of the last event.
    pub seq: u64,
    /// Elapsed time at the last input: it never runs back.
    pub now: Elapsed,
    /// Time of the wall clock at the last input; `None` in the record of a program that did not keep it.
    pub wall: Option<Timestamp>,
    /// Time of the node's clock at the last input; `None` if that time was not known.
    pub node: Option<NodeTime>,
    /// The end of the chain as far as we walked it.
    pub tip: Option<(u32, BlockHash)>,
    /// The block of which some parts were applied, and which is not connected yet.
    pub under_way: Option<(u32, BlockHash)>,
}

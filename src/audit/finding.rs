//! What an audit finds.

use std::{collections::BTreeSet, fmt};

use crate::{
    bch::{BlockHash, OutPoint, Txid},
    invoice::InvoiceId,
};

/// Something that does not agree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// An unspent output to a script that an invoice asks for is in a block that was walked after that, and on no record.
    Unaccounted {
        /// The output.
        outpoint: OutPoint,
        /// What it carries, in satoshis.
        satoshis: u64,
        /// The height of its block.
        height: u32,
    },
    /// A payment is in a block, and our record has it elsewhere.
    Unconfirmed {
        /// The output that pays.
        outpoint: OutPoint,
        /// What it pays.
        invoice: InvoiceId,
        /// The height of its block.
        height: u32,
    },
    /// A payment counts as one of the mempool, and the mempool does not have it.
    NotInMempool {
        /// Its transaction.
        txid: Txid,
    },
    /// A payment counts as one of this block, which is not on the node's chain.
    OffChain {
        /// The height of the block.
        height: u32,
        /// Its hash.
        hash: BlockHash,
    },
    /// The credits of an invoice say something else than its record.
    Standing {
        /// The invoice.
        invoice: InvoiceId,
    },
}

impl Finding {
    /// A word for metrics, and for whoever reads what `jppd audit` prints by program.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unaccounted { .. } => "unaccounted",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::NotInMempool { .. } => "not_in_mempool",
            Self::OffChain { .. } => "off_chain",
            Self::Standing { .. } => "standing",
        }
    }

    /// All words of [`name`](Self::name).
    pub const NAMES: [&'static str; 5] =
        ["unaccounted", "unconfirmed", "not_in_mempool", "off_chain", "standing"];
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name())?;
        match self {
            Self::Unaccounted { outpoint, satoshis, height } => write!(
                f,
                "{outpoint}, {satoshis} satoshis at height {height}, is on no record: missed, or older than its invoice"
            ),
            Self::Unconfirmed { outpoint, invoice, height } => {
                write!(
                    f,
                    "{outpoint} of invoice {invoice} is in a block at height {height}, and not on record so"
                )
            }
            Self::NotInMempool { txid } => write!(f, "{txid} counts, and is not in the node's mempool"),
            Self::OffChain { height, hash } => {
                write!(f, "payments count at height {height} in {hash}, which is not on the node's chain")
            }
            Self::Standing { invoice } => {
                write!(f, "the record of invoice {invoice} is not what its credits say")
            }
        }
    }
}

/// An unspent output that is older than every invoice that asks for its script. It is rightly on no record, and its owner may
/// want to know of it: an address that was used before, or a payment that came before its invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Earlier {
    /// The output.
    pub outpoint: OutPoint,
    /// Value of the output, in satoshis.
    pub satoshis: u64,
    /// The height of its block.
    pub height: u32,
}

impl fmt::Display for Earlier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { outpoint, satoshis, height } = self;
        write!(
            f,
            "earlier: {outpoint}, {satoshis} satoshis at height {height}, is older than the invoice that asks for its script and pays nothing"
        )
    }
}

/// What an audit came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many invoices were looked at.
    pub invoices: u64,
    /// How many scripts the node was asked for.
    pub scripts: u64,
    /// How many payments on record were compared with the node.
    pub payments: u64,
    /// What does not agree.
    pub findings: BTreeSet<Finding>,
    /// Unspent outputs that are older than what asks for their scripts, the first [`Report::MOST_EARLIER`]. They are told,
    /// and nothing is wrong with them.
    pub earlier: BTreeSet<Earlier>,
    /// How many of them there are.
    pub earlier_total: u64,
}

impl Report {
    /// How many earlier outputs are told one by one: an address that was used for years has very many.
    pub const MOST_EARLIER: usize = 100;

    pub(super) fn add_earlier(&mut self, earlier: Earlier) {
        self.earlier_total = self.earlier_total.saturating_add(1);
        if self.earlier.len() < Self::MOST_EARLIER {
            self.earlier.insert(earlier);
        }
    }
}

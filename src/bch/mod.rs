//! The vocabulary of Bitcoin Cash: networks, addresses, locking scripts, CashTokens, transactions, blocks, fees.
//!
//! Floor 0. Thin over the `bitcoincash` crate, and the only room that has to know its traps. What leaves this
//! room is already checked, so no other room looks at a token prefix, a checksum or a segwit marker:
//!
//! - a [`Transaction`] was decoded once, to the last byte, and carries its txid and its own bytes;
//! - a [`Output`] has its token apart from its locking script, so that a script can be looked up as it is;
//! - an [`Address`] belongs to the configured network and remembers whether it was token-aware;
//! - a [`FeeRate`] is exact.
//!
//! Money is `u64` satoshis in every room. There is no float in this program but the fee rate as it is printed.
//! This room knows no invoice.

mod address;
mod block;
mod fee;
mod network;
mod proof;
mod script;
mod thousandths;
mod token;
mod transaction;

pub use address::{Address, AddressError};
pub use bitcoincash::{BlockHash, OutPoint, ScriptBuf, Txid};
pub use block::{Block, BlockError};
pub use fee::{FeeRate, FeeRateError};
pub use network::{Network, UnknownNetwork};
pub use proof::{ProofScore, ProofScoreError};
pub use script::{ScriptHash, dust_limit, largest_unlocking_script, smallest_unlocking_script};
pub use token::{Capability, Category, MAX_COMMITMENT_BYTES, MAX_TOKEN_AMOUNT, Nft, Token};
pub use transaction::{MAX_TRANSACTION_BYTES, Output, Transaction, TransactionError};

/// The largest number of satoshis there can be: 21 million coins of 10^8 satoshis.
pub const MAX_MONEY: u64 = 21_000_000 * 100_000_000;

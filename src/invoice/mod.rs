//! The domain: what a merchant asks for, what was credited to it, and where that leaves it.
//!
//! Floor 1. Plain data and pure functions; no I/O, no clock.
//!
//! An [`Invoice`] is the merchant's part and never changes. A [`Credit`] is one transaction output counted for one
//! required output; once made, the pair never changes, only its [`CreditState`] does. Everything a reader wants to
//! know, the [`Status`], the sums, which transactions settle it and since when, is a pure function of the two and
//! of the height of the chain: [`Standing`]. So nothing about being paid can disagree with the credits, and what
//! a reorg or a double spend takes away, the same function takes away. An invoice can have thousands of credits, so a
//! small record is kept of what they come to, [`Paid`]; it is that of all credits at any time.
//!
//! What changes with an invoice beside its credits is small: whether it expired or was cancelled, and the marks
//! of [`InvoiceState`].

mod credit;
mod id;
mod matching;
mod order;
mod paid;
mod standing;
mod statement;
mod terms;
mod time;

pub use credit::{Credit, CreditState, Risk, Via};
pub use id::InvoiceId;
pub use matching::{Mismatch, assign_beside_credits, assign_exactly, is_exact, is_satisfied_by};
pub use order::{Age, FirstSeen, Order, Sighting};
pub use paid::{Completion, MOST_NAMED, Paid, Settling};
pub use standing::{OutputStanding, Settlement, Standing, Status};
pub use statement::{DoubleSpend, InvoiceState, Level, PayerNote, Phase, Refund, Statement};
pub use terms::{Draft, Invoice, MAX_CONFIRMATIONS_REQUIRED, Merchant, RequiredOutput, ZeroConf, held_since};
pub use time::{Elapsed, Leap, NodeTime, Reading, Timestamp};

//! Makes the node's signals complete.
//!
//! Floor 5. ZMQ is fast and loses messages without a word; RPC is slow and true. So a ZMQ message is a wake-up and
//! a head start, and what is believed is what a [`Pass`] finds: the tip, the walk of blocks from the tip we have to
//! the tip the node has, the mempool compared with what was examined before, and the tip again. A pass needs no
//! ZMQ; it runs every second, and at once after anything that smells of a gap.
//!
//! *Presence is proof, absence is not.* A transaction that the mempool shows is in the mempool. One that it does
//! not show may be missing because the node is in the middle of a reorg; so it is taken for lost only after two
//! complete passes without it, and after the node refused to take it again.
//!
//! A payment that is not in a block can be spent again. What the node knows of that is asked where it is told (a
//! double spend proof by ZMQ: an [`Alarm`]) and in every pass. How well proofs protect a payment is asked once, where it settles
//! an invoice or is held back for that, and for a second in ten at most.
//!
//! [`Pass`], [`Meeting`] (one transaction from ZMQ) and [`Survey`] (who the node is, what it publishes) are state
//! machines without I/O: each asks for one thing at a time, a [`Step`], and is given an [`Answer`].
//! [`Follower`] is the thin loop around them. It never writes the store; it only sends inputs to the engine.

mod alarm;
mod appraisal;
mod follower;
mod gap;
mod health;
mod matters;
mod meeting;
mod memory;
mod pass;
mod reason;
mod recall;
mod step;
mod survey;
mod time_check;
mod walk;
mod whereabouts;

pub use alarm::Alarm;
pub use follower::{Follower, FollowerSettings};
pub use gap::{Gap, Missing};
pub use health::Health;
pub use meeting::Meeting;
pub use memory::Memory;
pub use pass::{Pass, PassEnd};
pub use reason::{Reason, Severity, Since};
pub use step::{Answer, FollowError, Moment, Step};
pub use survey::{Survey, Surveyed};
pub use time_check::TimeEvidence;

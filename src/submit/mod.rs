//! The one way of a submission: its checks, then claim, broadcast, credit or release.
//!
//! Floor 5. Every dialect brings its transactions here and takes the result away; no dialect has a rule of its own.
//!
//! The order of things is what keeps money safe. The claim is on disk before the transaction leaves this machine,
//! so that whatever happens next, a crash, a node that dies with the answer, a client that hangs up, is only a
//! question of when the payment is credited. A claim is released by one thing alone: the node saying no.
//!
//! A submission may bring several transactions. They are checked as one and claimed in one write, then broadcast one
//! after the other, parents first. If the node says no to one, what it took before stays and counts, and the claims of
//! the rest are released with it; a repetition goes on from there.
//!
//! [`Course`] is the state machine. It asks for one thing at a time ([`Step`]) and does no I/O of its own, so that a
//! simulator can answer in its own way; [`Submitter`] is the thin loop that puts the questions to the node and the
//! engine, and runs on when nobody waits for the answer any more.

mod checks;
mod course;
mod error;
mod family;
#[cfg(test)]
mod fixture;
mod size;
mod submission;
mod submitter;
mod tokens;

pub use course::{Answer, Course, Moment, Step};
pub use error::{FamilyFault, InputFault, SubmitError, TokenFault};
pub use submission::{Accepted, MOST_BYTES, MOST_TRANSACTIONS, Submission};
pub use submitter::Submitter;

//! Compares the books with the node: has anything been missed?
//!
//! Floor 5. The follower finds payments as they happen; an audit asks the other way round. It takes every script that an
//! open or paid invoice asks for, has the node look through its set of unspent outputs for them, and wants each one that
//! it finds on record. It takes every payment on record, and wants the node to have it where the record says it is. It
//! computes every invoice's standing anew. Whatever does not agree is a [`Finding`]. Nothing is mended: what is found here
//! should not exist, and somebody should look at it.
//!
//! # What it cannot see
//!
//! An output that was spent again is in no set of unspent outputs. And an output that was sent before its invoice was made,
//! and mined after, looks like one that was missed: it is rightly on no record. The daemon remembers when it saw what
//! ([`Sightings`](crate::engine::Sightings)) and can tell; an audit from outside the daemon cannot, calls such an output
//! unaccounted for, and leaves the judgement to a person.
//!
//! An output that is certainly older than every invoice that asks for its script is no finding. The report still lists
//! it ([`Earlier`]): a merchant or a payer may be waiting for a payment that came before its invoice.
//!
//! # What stands still
//!
//! Nothing does: the node, the follower and the audit go on side by side, and what one has seen the other may not yet have
//! written down. So a finding counts when a second audit, a little later, finds it again ([`Auditor`]).
//!
//! [`Audit`] is the state machine, without I/O; [`Auditor`] is the loop around it. The node takes a minute or two for its
//! part on the main network, on one of its threads, and goes on with everything else.

mod auditor;
mod finding;
mod machine;

pub use auditor::{AuditError, Auditor};
pub use finding::{Earlier, Finding, Report};
pub use machine::{Audit, Step};

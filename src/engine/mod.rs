//! The one writer: takes a batch of inputs, applies them, commits them in one synced write, then answers and
//! publishes.
//!
//! Floor 4. Two wishes pull here. Everything must be durable before anybody hears of it, and a synced write costs
//! as much for a thousand inputs as for one; so inputs that arrive while a write is under way wait, and go together
//! into the next. Nobody holds a lock meanwhile, and one slow disk makes everybody slower but nobody wrong.
//!
//! [`Writer`] is the state machine, one [`Batch`] after the other: it has no thread, no channel and no clock, so that
//! the simulator drives the same. [`Engine`] is the thin loop around it, on a thread of its own, behind a bounded queue. What is published (the
//! [order of inputs](crate::invoice::Order) and the events) moves only after the commit; if the commit fails, the overlay is dropped, callers get
//! [`EngineError::Unavailable`], and nothing has happened.
//!
//! The engine never waits for the node, and knows no HTTP.

mod batch;
mod clock;
mod coverage;
mod handle;
mod pulse;
mod sightings;
mod storage;
#[cfg(test)]
mod tests;
mod writer;

pub use batch::{Batch, BatchFailure};
pub use clock::{Clock, SystemClock, Timeline, running};
pub use coverage::Coverage;
pub use handle::{Engine, EngineError, EngineSettings, EngineStartError, Publish, SLOW_WRITE};
pub use pulse::{Pulse, PulseReading};
pub use sightings::Sightings;
pub use storage::{CommitError, Storage};
pub use writer::{Writer, Written};

//! From the event log to those who listen.
//!
//! Floor 5. A listener is a cursor into the log, and nothing else: it reads the events of its invoice from the store, in
//! order, from the number it was told to resume at, and waits on its [`Subscription`] when there is none. What the
//! engine publishes is only a wake-up, so a wake-up too many does no harm, none is lost that matters, and no event is
//! ever held here that is not on disk. The order of things, subscribe first and read the log after, is what leaves no
//! gap between the two.

mod notifier;

pub use notifier::{Notifier, Subscription};

//! From the event log to those who listen.
//!
//! Floor 5. It holds no event that is not on disk.

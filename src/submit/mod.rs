//! The one way of a submission: its checks, then claim, broadcast, credit or release.
//!
//! Floor 5.

//! The command line: `run`, `check-config`, `keys`.
//!
//! Floor 7. Assembly only.

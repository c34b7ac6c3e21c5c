//! Configuration: the file, the environment, the defaults, all checked before any port is bound.
//!
//! Floor 7.

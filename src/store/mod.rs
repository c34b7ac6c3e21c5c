//! RocksDB: tables, the record codec, the atomic commit.
//!
//! Floor 3. It alone knows bytes at rest, and it decides nothing.

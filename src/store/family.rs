//! Column families: one for each table, and how RocksDB is set up for it.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Options};

use super::{StoreOptions, keys, records};
use crate::ledger::{
    Table,
    tables::{
        Awaiting, BlockTransactions, Blocks, Chain, Claims, Counters, Credits, CreditsOf, Events, EventsOf,
        Ever, Exact, Expiries, Held, Idempotency, IdempotencyEnds, Invoices, LateEnds, Live, Maturing,
        OpenClaims, Retirements, Scripts, Spends, Transactions, Unassigned, UnassignedOf, Unconfirmed,
    },
};

/// The family of what the store keeps about itself.
pub(super) const META: &str = "meta";

/// A table at rest.
pub(super) trait Rests: Table<Key: keys::Key, Value: records::Record> {
    /// The name of its column family. It is on disk: it never changes.
    const FAMILY: &'static str;
}

/// How a table is used, which decides what RocksDB prepares for.
#[derive(Clone, Copy, Debug)]
enum Use {
    /// Asked by whole keys, mostly for keys that are not there: bloom filters, small blocks.
    Points,
    /// Read in order, in short ranges: bigger blocks.
    Ranges,
    /// Filled at one end and emptied at the other: what was removed must not be walked over for long, so buffers are
    /// small and files full of removals are compacted early.
    Queue,
}

macro_rules! families {
    ($($table:ident: $family:literal, $use:ident, $buffer_mib:literal;)*) => {
        $(
            impl Rests for $table {
                const FAMILY: &'static str = $family;
            }
        )*

        /// Every family: its name, its use, and how many MiB it gathers in memory before it writes a file.
        const FAMILIES: &[(&str, Use, usize)] = &[
            (META, Use::Points, 1),
            $(($family, Use::$use, $buffer_mib),)*
        ];
    };
}
families! {
    Invoices: "invoices", Points, 16;
    Credits: "credits", Points, 8;
    CreditsOf: "credits_of", Ranges, 4;
    Transactions: "transactions", Points, 8;
    Spends: "spends", Points, 8;
    Unconfirmed: "unconfirmed", Queue, 1;
    BlockTransactions: "block_transactions", Ranges, 4;
    Claims: "claims", Points, 4;
    OpenClaims: "open_claims", Queue, 1;
    Scripts: "scripts", Points, 8;
    Exact: "exact", Queue, 4;
    Live: "live", Queue, 4;
    Ever: "ever", Ranges, 8;
    Held: "held", Queue, 1;
    Expiries: "expiries", Queue, 1;
    LateEnds: "late_ends", Queue, 1;
    Retirements: "retirements", Queue, 1;
    Awaiting: "awaiting", Queue, 1;
    Maturing: "maturing", Queue, 1;
    Events: "events", Ranges, 16;
    EventsOf: "events_of", Ranges, 8;
    Unassigned: "unassigned", Points, 2;
    UnassignedOf: "unassigned_of", Ranges, 2;
    Idempotency: "idempotency", Points, 4;
    IdempotencyEnds: "idempotency_ends", Queue, 1;
    Chain: "chain", Ranges, 1;
    Blocks: "blocks", Points, 1;
    Counters: "counters", Points, 1;
}

/// The names of all families.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|(name, ..)| *name)
}

/// How much of the logs must be readable for a database to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogRecovery {
    /// Every record of every log. A closed log must be there in the length that the MANIFEST knows.
    Whole,
    /// Everything up to the first damaged record, and nothing after it. A closed log must be there in the length that
    /// the MANIFEST knows.
    UpToDamage,
    /// Everything up to the first damaged record, whatever logs are there: for a repair. RocksDB 11.8 cannot open for
    /// reading alone in this way (it crashes where the MANIFEST names a log).
    WhateverIsThere,
}

/// How RocksDB is set up as a whole.
pub(super) fn database_options(options: &StoreOptions, recovery: LogRecovery) -> Options {
    const MIB: usize = 1 << 20;
    let mut database = Options::default();
    database.set_wal_recovery_mode(match recovery {
        LogRecovery::Whole => DBRecoveryMode::AbsoluteConsistency,
        LogRecovery::UpToDamage | LogRecovery::WhateverIsThere => DBRecoveryMode::PointInTime,
    });
    // The MANIFEST notes the length of each log when it is closed: one that is gone or cut is noticed at the opening.
    database.set_track_and_verify_wals_in_manifest(recovery != LogRecovery::WhateverIsThere);
    // The log is as long as the oldest change that is in no file yet: a rarely written family must not keep it all.
    database.set_max_total_wal_size(64 * MIB as u64);
    database.set_db_write_buffer_size(options.write_buffer_bytes);
    database.set_max_open_files(options.open_files);
    database.set_max_background_jobs(3);
    // Files are synced as they grow, and not all at once at their end.
    database.set_bytes_per_sync(MIB as u64);
    database.set_keep_log_file_num(5);
    database.set_max_log_file_size(4 * MIB);
    database.set_stats_dump_period_sec(0);
    database.set_max_manifest_file_size(16 * MIB);
    database
}

/// How RocksDB is set up for a family. Of one that this program does not know nothing is asked.
pub(super) fn family_options(name: &str, cache: &Cache) -> Options {
    let mut family = Options::default();
    let Some((_, usage, buffer_mib)) = FAMILIES.iter().find(|(known, ..)| *known == name) else {
        return family;
    };
    family.set_write_buffer_size(buffer_mib << 20);
    family.set_compression_type(DBCompressionType::Lz4);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // Indexes and filters stay in memory as long as their file is open: they are asked for every output there is,
    // and a cache would make the readers queue for them.
    blocks.set_cache_index_and_filter_blocks(false);
    blocks.set_bloom_filter(10.0, false);
    match usage {
        Use::Points => {
            family.set_memtable_prefix_bloom_ratio(0.05);
            family.set_memtable_whole_key_filtering(true);
        }
        Use::Ranges => blocks.set_block_size(16 << 10),
        Use::Queue => family.add_compact_on_deletion_collector_factory(1024, 512, 0.5),
    }
    family.set_block_based_table_factory(&blocks);
    family
}

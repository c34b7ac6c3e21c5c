//! The small records: index entries, blocks, counters, and what the store keeps about itself.

use bitcoincash::hashes::Hash as _;
use prost::Message;

use super::{Damage, Record, array, block_hash, elapsed, invoice_id, node_time, time, txid};
use crate::{
    bch::{BlockHash, Network, OutPoint, ScriptHash, Txid},
    invoice::{InvoiceId, Merchant, NodeTime, Order, Timestamp},
    ledger::LogId,
    ledger::tables::{BlockRecord, IdempotencyRecord, Meta, ScriptRecord},
    store::family,
};

/// Of entries that are only a key.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::store) struct NothingMessage {}

impl Record for () {
    type Message = NothingMessage;

    fn message(&self) -> NothingMessage {
        NothingMessage {}
    }

    fn from_message(_: NothingMessage) -> Result<Self, Damage> {
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::store) struct NumberMessage {
    #[prost(uint64, tag = "1")]
    number: u64,
}

impl Record for u64 {
    type Message = NumberMessage;

    fn message(&self) -> NumberMessage {
        NumberMessage { number: *self }
    }

    fn from_message(message: NumberMessage) -> Result<Self, Damage> {
        Ok(message.number)
    }
}

/// Of what is nothing but its bytes: an invoice's id, a block's hash.
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct BytesMessage {
    #[prost(bytes = "vec", tag = "1")]
    bytes: Vec<u8>,
}

impl Record for InvoiceId {
    type Message = BytesMessage;

    fn message(&self) -> BytesMessage {
        BytesMessage { bytes: self.as_bytes().to_vec() }
    }

    fn from_message(message: BytesMessage) -> Result<Self, Damage> {
        invoice_id(&message.bytes)
    }
}

impl Record for BlockHash {
    type Message = BytesMessage;

    fn message(&self) -> BytesMessage {
        BytesMessage { bytes: self.to_byte_array().to_vec() }
    }

    fn from_message(message: BytesMessage) -> Result<Self, Damage> {
        block_hash(&message.bytes)
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct OutPointMessage {
    #[prost(bytes = "vec", tag = "1")]
    txid: Vec<u8>,
    #[prost(uint32, tag = "2")]
    vout: u32,
}

impl Record for OutPoint {
    type Message = OutPointMessage;

    fn message(&self) -> OutPointMessage {
        OutPointMessage { txid: self.txid.to_byte_array().to_vec(), vout: self.vout }
    }

    fn from_message(message: OutPointMessage) -> Result<Self, Damage> {
        Ok(Self { txid: txid(&message.txid)?, vout: message.vout })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct TxidsMessage {
    #[prost(bytes = "vec", repeated, tag = "1")]
    txids: Vec<Vec<u8>>,
}

impl Record for Vec<Txid> {
    type Message = TxidsMessage;

    fn message(&self) -> TxidsMessage {
        TxidsMessage { txids: self.iter().map(|txid| txid.to_byte_array().to_vec()).collect() }
    }

    fn from_message(message: TxidsMessage) -> Result<Self, Damage> {
        message.txids.iter().map(|bytes| txid(bytes)).collect()
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct ScriptMessage {
    #[prost(string, tag = "1")]
    merchant: String,
    #[prost(uint64, tag = "2")]
    first: u64,
    #[prost(uint64, tag = "3")]
    since_ms: u64,
    #[prost(bool, tag = "4")]
    released: bool,
    #[prost(uint64, repeated, tag = "5")]
    taken: Vec<u64>,
    #[prost(uint64, optional, tag = "6")]
    node_time_ms: Option<u64>,
}

impl Record for ScriptRecord {
    type Message = ScriptMessage;

    fn message(&self) -> ScriptMessage {
        ScriptMessage {
            merchant: self.merchant.name().to_owned(),
            first: self.first.0,
            since_ms: self.since.millis(),
            released: self.released,
            taken: self.taken.iter().map(|order| order.0).collect(),
            node_time_ms: self.node_time.map(NodeTime::millis),
        }
    }

    fn from_message(message: ScriptMessage) -> Result<Self, Damage> {
        Ok(Self {
            merchant: Merchant::named(message.merchant),
            first: Order(message.first),
            since: time(message.since_ms)?,
            released: message.released,
            taken: message.taken.into_iter().map(Order).collect(),
            node_time: message.node_time_ms.map(node_time).transpose()?,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct IdempotencyMessage {
    #[prost(bytes = "vec", tag = "1")]
    body: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    invoice: Vec<u8>,
}

impl Record for IdempotencyRecord {
    type Message = IdempotencyMessage;

    fn message(&self) -> IdempotencyMessage {
        IdempotencyMessage { body: self.body.to_vec(), invoice: self.invoice.as_bytes().to_vec() }
    }

    fn from_message(message: IdempotencyMessage) -> Result<Self, Damage> {
        Ok(Self { body: array(&message.body, "digest")?, invoice: invoice_id(&message.invoice)? })
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::store) struct BlockMessage {
    #[prost(uint32, tag = "1")]
    height: u32,
    #[prost(uint64, tag = "2")]
    begun: u64,
    #[prost(uint32, optional, tag = "3")]
    time_s: Option<u32>,
}

impl Record for BlockRecord {
    type Message = BlockMessage;

    fn message(&self) -> BlockMessage {
        BlockMessage { height: self.height, begun: self.begun.0, time_s: self.time_s }
    }

    fn from_message(message: BlockMessage) -> Result<Self, Damage> {
        Ok(Self { height: message.height, begun: Order(message.begun), time_s: message.time_s })
    }
}

/// A block by its place on the chain.
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct PositionMessage {
    #[prost(uint32, tag = "1")]
    height: u32,
    #[prost(bytes = "vec", tag = "2")]
    hash: Vec<u8>,
}

impl Record for (u32, BlockHash) {
    type Message = PositionMessage;

    fn message(&self) -> PositionMessage {
        PositionMessage { height: self.0, hash: self.1.to_byte_array().to_vec() }
    }

    fn from_message(message: PositionMessage) -> Result<Self, Damage> {
        Ok((message.height, block_hash(&message.hash)?))
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct CountersMessage {
    #[prost(uint64, tag = "1")]
    order: u64,
    #[prost(uint64, tag = "2")]
    ordinal: u64,
    #[prost(uint64, tag = "3")]
    seq: u64,
    /// Elapsed time.
    #[prost(uint64, tag = "4")]
    now_ms: u64,
    #[prost(message, optional, tag = "5")]
    tip: Option<PositionMessage>,
    #[prost(message, optional, tag = "6")]
    under_way: Option<PositionMessage>,
    #[prost(uint64, optional, tag = "7")]
    wall_ms: Option<u64>,
    #[prost(uint64, optional, tag = "8")]
    node_ms: Option<u64>,
}

impl Record for Meta {
    type Message = CountersMessage;

    fn message(&self) -> CountersMessage {
        CountersMessage {
            order: self.order.0,
            ordinal: self.ordinal,
            seq: self.seq,
            now_ms: self.now.millis(),
            tip: self.tip.as_ref().map(Record::message),
            under_way: self.under_way.as_ref().map(Record::message),
            wall_ms: self.wall.map(Timestamp::millis),
            node_ms: self.node.map(NodeTime::millis),
        }
    }

    fn from_message(message: CountersMessage) -> Result<Self, Damage> {
        Ok(Self {
            order: Order(message.order),
            ordinal: message.ordinal,
            seq: message.seq,
            now: elapsed(message.now_ms)?,
            wall: message.wall_ms.map(time).transpose()?,
            node: message.node_ms.map(node_time).transpose()?,
            tip: message.tip.map(Record::from_message).transpose()?,
            under_way: message.under_way.map(Record::from_message).transpose()?,
        })
    }
}

/// What the store keeps about itself. Its fields keep their meaning in every version to come, so that every version
/// can tell that a store is too new for it.
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct StoreMetaMessage {
    /// The version of all that is at rest.
    #[prost(uint32, tag = "1")]
    pub(in crate::store) schema: u32,
    /// The network, by its word in the configuration.
    #[prost(string, tag = "2")]
    pub(in crate::store) network: String,
    /// The version of the program that created it.
    #[prost(string, tag = "3")]
    pub(in crate::store) created_by: String,
    /// The 16 bytes of the event log's id. Absent in stores that older versions made, until they are opened for writing.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(in crate::store) log: Option<Vec<u8>>,
    /// Whether the file `committed` must be there. Stores of version 0.1.0 had none.
    #[prost(bool, tag = "5")]
    pub(in crate::store) has_committed: bool,
    /// The tables that must be there; empty in stores of version 0.1.0.
    #[prost(string, repeated, tag = "6")]
    pub(in crate::store) families: Vec<String>,
}

impl StoreMetaMessage {
    /// The id of the event log, if the store has one yet.
    pub(in crate::store) fn log_id(&self) -> Result<Option<LogId>, Damage> {
        self.log.as_deref().map(|bytes| array(bytes, "log id").map(LogId::from_bytes)).transpose()
    }

    /// Record that this program writes into a store, with a new id for the event log.
    pub(in crate::store) fn of(schema: u32, network: Network) -> Self {
        Self {
            schema,
            network: network.name().to_owned(),
            created_by: env!("CARGO_PKG_VERSION").to_owned(),
            log: Some(LogId::random().as_bytes().to_vec()),
            has_committed: true,
            families: family::names().map(str::to_owned).collect(),
        }
    }
}

impl Record for StoreMetaMessage {
    type Message = Self;

    fn message(&self) -> Self {
        self.clone()
    }

    fn from_message(message: Self) -> Result<Self, Damage> {
        Ok(message)
    }
}

/// The hash of a script, within a record.
pub(super) fn script_hash(bytes: &[u8]) -> Result<ScriptHash, Damage> {
    array(bytes, "script hash").map(ScriptHash::from_bytes)
}

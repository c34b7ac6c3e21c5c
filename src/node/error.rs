//! What can go wrong between us and the node, and whose fault it is.

use std::io;

use bitcoincore_rpc::jsonrpc;

use super::transport::TransportError;

/// The longest message of the node that is kept, in bytes. (Its answer to a wrong call is a page of help.)
const MESSAGE_LIMIT: usize = 512;

/// Why a call to the node has no [`Reply`](super::Reply).
///
/// None of these is the fault of a payer or of a merchant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The request was not delivered: no connection, a connection lost before the last byte was written, or this
    /// client has been stopped. Nothing happened. The operator's concern if it lasts.
    #[error("the node cannot be reached")]
    Unreachable,
    /// The node refused our credentials, also after they were read again, or their file cannot be read. The
    /// operator's fault.
    #[error("the node refuses our credentials, or their file cannot be read")]
    Unauthorized,
    /// The operating system gives this process no more files or ports: neither credentials nor a connection could be
    /// had. Nothing happened, and nothing is known of the node.
    #[error(
        "jppd has no open files or ports left, so the node cannot be asked: raise the limit of open files"
    )]
    Exhausted,
    /// The node is starting (-28). Nobody's fault; it passes.
    #[error("the node is warming up")]
    WarmingUp,
    /// The node has switched its RPC off because its release is too old (-100). The operator's fault: it needs a
    /// newer release, or `-expire=0`.
    #[error("node software expired: upgrade the node, or start it with -expire=0")]
    Expired,
    /// Too many calls: the node's work queue is full, the node is shutting down, or our own queue of submissions
    /// is full. Nothing happened.
    #[error("the node is busy")]
    Busy,
    /// The request was written and no complete answer came in time. The effect may have happened.
    #[error("the node did not answer in time")]
    Timeout,
    /// The request was written and the connection was lost. The effect may have happened.
    #[error("the connection was lost before the node answered")]
    NoAnswer,
    /// The node answered with an error that the call does not expect.
    #[error("the node answered with error {code}: {message}")]
    Rpc {
        /// The node's error code.
        code: i32,
        /// The node's words, shortened.
        message: String,
    },
    /// The answer is not what this call answers: another program listens there, or another version of the node.
    #[error("the node's answer cannot be understood")]
    Malformed,
    /// The call went wrong in this program: a bug of ours, and no word about the node. The effect may have happened.
    #[error("a call to the node went wrong in jppd itself")]
    Internal,
}

impl NodeError {
    /// Whether the call may have had its effect although it failed.
    ///
    /// After a failed broadcast `false` means that the transaction can be released, `true` that the node has to be
    /// asked (or the broadcast repeated, which is harmless).
    #[must_use]
    pub fn effect_possible(&self) -> bool {
        match self {
            Self::Unreachable
            | Self::Unauthorized
            | Self::Exhausted
            | Self::WarmingUp
            | Self::Expired
            | Self::Busy => false,
            Self::Timeout | Self::NoAnswer | Self::Malformed | Self::Internal => true,
            Self::Rpc { code, .. } => !REFUSED_UNEXECUTED.contains(code),
        }
    }

    /// A word for metrics and logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::Exhausted => "exhausted",
            Self::WarmingUp => "warming_up",
            Self::Expired => "expired",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::NoAnswer => "no_answer",
            Self::Rpc { .. } => "rpc",
            Self::Malformed => "malformed",
            Self::Internal => "internal",
        }
    }

    /// All words of [`kind`](Self::kind).
    pub(super) const KINDS: [&str; 11] = [
        "unreachable",
        "unauthorized",
        "exhausted",
        "warming_up",
        "expired",
        "busy",
        "timeout",
        "no_answer",
        "rpc",
        "malformed",
        "internal",
    ];

    /// The error of an error object.
    pub(super) fn from_rpc(code: i32, message: &str) -> Self {
        match code {
            -28 => Self::WarmingUp,
            -100 => Self::Expired,
            _ => Self::Rpc { code, message: shortened(message) },
        }
    }

    /// The error of a failed exchange.
    pub(super) fn from_jsonrpc(error: &jsonrpc::Error) -> Self {
        if let jsonrpc::Error::Rpc(rpc) = error {
            return Self::from_rpc(rpc.code, &rpc.message);
        }
        if let jsonrpc::Error::Transport(cause) = error
            && let Some(cause) = cause.downcast_ref::<TransportError>()
        {
            return Self::from_transport(cause);
        }
        Self::Malformed
    }

    /// The error of a failed call of the client library.
    pub(super) fn from_client(error: &bitcoincore_rpc::Error) -> Self {
        if let bitcoincore_rpc::Error::JsonRpc(error) = error {
            Self::from_jsonrpc(error)
        } else {
            Self::Malformed
        }
    }

    fn from_transport(error: &TransportError) -> Self {
        match error {
            TransportError::NotDelivered => Self::Unreachable,
            TransportError::Exhausted => Self::Exhausted,
            TransportError::Timeout => Self::Timeout,
            TransportError::NoAnswer => Self::NoAnswer,
            TransportError::TooLarge | TransportError::Garbled => Self::Malformed,
            TransportError::Status { status, text } => Self::from_status(*status, text),
        }
    }

    /// The error of a reply without JSON.
    fn from_status(status: u16, text: &str) -> Self {
        match status {
            // 403 is the node's answer to an address outside `-rpcallowip`.
            401 | 403 => Self::Unauthorized,
            503 => Self::Busy,
            // The second is what a request gets that is still queued when the node shuts down.
            500 if text.contains("Work queue depth exceeded") || text.contains("Unhandled request") => {
                Self::Busy
            }
            // A proxy between us and the node: it does not know either.
            502 | 504 => Self::NoAnswer,
            _ => Self::Malformed,
        }
    }
}

/// Why a [`Rpc`](super::Rpc) or a [`Subscriber`](super::Subscriber) cannot start. The operator's fault, but for
/// `Thread`.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address of the node's RPC is not one.
    #[error("the node's RPC address is not usable: {0}")]
    Url(&'static str),
    /// An address of the node's ZMQ is not one.
    #[error("the node's ZMQ address for {topic} is not usable: {reason}")]
    Endpoint {
        /// Which of them.
        topic: super::Topic,
        /// libzmq's words.
        reason: String,
    },
    /// libzmq refused something that does not depend on an address.
    #[error("ZMQ cannot start: {0}")]
    Zmq(String),
    /// The operating system refused a thread.
    #[error("a thread cannot start: {0}")]
    Thread(#[from] io::Error),
}

/// Codes that the node gives before it executes anything: bad JSON, no such method, bad parameters, bad hex.
const REFUSED_UNEXECUTED: [i32; 7] = [-32700, -32601, -32600, -32602, -22, -8, -3];

/// Whether the operating system refused a file, a connection or a port because there are no more of them.
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error().is_some_and(|code| [ENFILE, EMFILE].contains(&code))
}

/// The system has no more open files.
const ENFILE: i32 = 23;

/// The process has no more open files.
const EMFILE: i32 = 24;

fn shortened(message: &str) -> String {
    let mut end = message.len().min(MESSAGE_LIMIT);
    while !message.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    message.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_json_has_one_meaning() {
        let table = [
            (401, "", NodeError::Unauthorized),
            (403, "", NodeError::Unauthorized),
            (500, "Work queue depth exceeded", NodeError::Busy),
            (500, "Unhandled request", NodeError::Busy),
            (500, "<html>something else</html>", NodeError::Malformed),
            (503, "<HTML><HEAD>\n<TITLE>503 Service Unavailable</TITLE>", NodeError::Busy),
            (502, "", NodeError::NoAnswer),
            (504, "", NodeError::NoAnswer),
            (404, "", NodeError::Malformed),
            (405, "JSONRPC server handles only POST requests", NodeError::Malformed),
            (200, "hello", NodeError::Malformed),
        ];
        for (status, text, expected) in table {
            assert_eq!(NodeError::from_status(status, text), expected, "{status} {text}");
        }
    }

    #[test]
    fn an_error_object_has_one_meaning() {
        assert_eq!(NodeError::from_rpc(-28, "Verifying blocks..."), NodeError::WarmingUp);
        assert_eq!(NodeError::from_rpc(-100, "RPC is disabled."), NodeError::Expired);
        let other = NodeError::from_rpc(-8, "Block height out of range");
        assert_eq!(other, NodeError::Rpc { code: -8, message: "Block height out of range".into() });
    }

    #[test]
    fn only_an_unanswered_request_may_have_had_its_effect() {
        let rpc = |code| NodeError::Rpc { code, message: String::new() };
        let possible = [
            NodeError::Timeout,
            NodeError::NoAnswer,
            NodeError::Malformed,
            NodeError::Internal,
            rpc(-1),
            rpc(-31),
        ];
        let not = [
            NodeError::Unreachable,
            NodeError::Unauthorized,
            NodeError::Exhausted,
            NodeError::WarmingUp,
            NodeError::Expired,
            NodeError::Busy,
            rpc(-32601),
            rpc(-3),
        ];
        assert!(possible.iter().all(NodeError::effect_possible));
        assert!(!not.iter().any(NodeError::effect_possible));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let message = format!("{}{}", "a".repeat(MESSAGE_LIMIT - 1), "é".repeat(10));
        let NodeError::Rpc { message, .. } = NodeError::from_rpc(-1, &message) else {
            panic!("not an RPC error")
        };
        assert_eq!(message.len(), MESSAGE_LIMIT - 1);
    }
}

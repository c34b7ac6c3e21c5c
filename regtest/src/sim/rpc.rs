//! From the bytes of a request to the bytes of an answer: JSON-RPC as the node speaks it.
//!
//! It is the 1.0 dialect: the answer has `result`, `error` and `id` in this order and ends with a line feed, an error
//! has an HTTP status of its own, and a batch is answered one by one, always with 200. Faults strike here, between
//! the request and its effect, or between the effect and its answer.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::faults::RpcFault;
use super::{Caller, Phase, Shared};
use crate::node::RpcFailure;

/// What goes back over HTTP.
pub(super) enum Reply {
    /// JSON text with its status.
    Json(StatusCode, String),
    /// Plain text with its status.
    Text(StatusCode, String),
    /// Nothing: the connection is reset.
    Reset,
}

/// How one call ended.
enum Outcome {
    Answer(Result<Box<RawValue>, RpcFailure>),
    Text(StatusCode, String),
    Reset,
}

/// Answers one HTTP body: a call or a batch of calls.
pub(super) async fn answer(node: &Arc<Shared>, body: &[u8]) -> Reply {
    let refuse = |text| failed(&RpcFailure::new(-32700, text), &Value::Null);
    match serde_json::from_slice(body) {
        Ok(Value::Array(requests)) => {
            let mut answers = Vec::with_capacity(requests.len());
            for request in &requests {
                let (id, outcome) = one(node, request).await;
                match outcome {
                    Outcome::Answer(result) => answers.push(envelope(&result, &id)),
                    Outcome::Text(status, text) => return Reply::Text(status, text),
                    Outcome::Reset => return Reply::Reset,
                }
            }
            Reply::Json(StatusCode::OK, format!("[{}]\n", answers.join(",")))
        }
        Ok(request @ Value::Object(_)) => {
            let (id, outcome) = one(node, &request).await;
            match outcome {
                Outcome::Answer(Ok(result)) => Reply::Json(StatusCode::OK, envelope(&Ok(result), &id) + "\n"),
                Outcome::Answer(Err(failure)) => failed(&failure, &id),
                Outcome::Text(status, text) => Reply::Text(status, text),
                Outcome::Reset => Reply::Reset,
            }
        }
        Ok(_) => refuse("Top-level object parse error"),
        Err(_) => refuse("Parse error"),
    }
}

fn failed(failure: &RpcFailure, id: &Value) -> Reply {
    let status = match failure.code {
        -32600 => StatusCode::BAD_REQUEST,
        -32601 => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Reply::Json(status, envelope(&Err(failure.clone()), id) + "\n")
}

fn envelope(result: &Result<Box<RawValue>, RpcFailure>, id: &Value) -> String {
    match result {
        Ok(result) => format!("{{\"result\":{result},\"error\":null,\"id\":{id}}}"),
        Err(RpcFailure { code, message }) => {
            let message = Value::from(message.as_str());
            format!("{{\"result\":null,\"error\":{{\"code\":{code},\"message\":{message}}},\"id\":{id}}}")
        }
    }
}

/// Makes one call. Its id comes first, because an answer to a malformed call has one, too.
async fn one(node: &Arc<Shared>, request: &Value) -> (Value, Outcome) {
    let malformed = |text| Outcome::Answer(Err(RpcFailure::new(-32600, text)));
    let Value::Object(request) = request else { return (Value::Null, malformed("Invalid Request object")) };
    let id = request.get("id").cloned().unwrap_or_default();
    let method = match request.get("method") {
        Some(Value::String(method)) => method.clone(),
        Some(_) => return (id, malformed("Method must be a string")),
        None => return (id, malformed("Missing method")),
    };
    let params = match request.get("params") {
        None | Some(Value::Null) => None,
        Some(given @ (Value::Array(_) | Value::Object(_))) => Some(given.clone()),
        Some(_) => return (id, malformed("Params must be an array or object")),
    };
    (id, call(node, method, params).await)
}

async fn call(node: &Arc<Shared>, method: String, params: Option<Value>) -> Outcome {
    let fault = node.faults.next_for(&method);
    match &fault {
        Some(RpcFault::Error { code, message }) => {
            return Outcome::Answer(Err(RpcFailure::new(*code, message.as_str())));
        }
        Some(RpcFault::Http { status, body }) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Outcome::Text(status, body.clone());
        }
        Some(RpcFault::Reset) => return Outcome::Reset,
        Some(RpcFault::Hang(time)) => {
            sleep(*time).await;
            return Outcome::Reset;
        }
        Some(RpcFault::Delay(time)) => sleep(*time).await,
        Some(RpcFault::Held) => node.faults.released().await,
        Some(RpcFault::ApplyThenReset | RpcFault::ApplyThenHang(_)) | None => {}
    }
    if let Some(failure) = unavailable(node, &method) {
        return Outcome::Answer(Err(failure));
    }
    let worker = Arc::clone(node);
    let Ok(result) = spawn_blocking(move || worker.execute(&method, params.as_ref(), Caller::Client)).await
    else {
        return Outcome::Reset;
    };
    let silence = match fault {
        Some(RpcFault::ApplyThenReset) => Duration::ZERO,
        Some(RpcFault::ApplyThenHang(time)) => time,
        _ => return Outcome::Answer(result),
    };
    sleep(silence).await;
    Outcome::Reset
}

/// Why the node answers no method at all just now.
fn unavailable(node: &Shared, method: &str) -> Option<RpcFailure> {
    if let Some(text) = node.faults.warming_up() {
        return Some(RpcFailure::new(-28, text));
    }
    if node.phase() == Phase::WarmingUp {
        return Some(RpcFailure::new(-28, "Loading block index..."));
    }
    let expired = node.faults.is_expired() && method != "stop";
    expired.then(|| {
        RpcFailure::new(
            -100,
            "RPC is disabled. This version of Bitcoin Cash Node is old and may be out of consensus with the network.",
        )
    })
}

//! Counters of the room, as kept handles of the `metrics` facade.
//!
//! Handles belong to the recorder that is installed when they are made: install it before anything starts.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use parking_lot::Mutex;

use super::call::{Reply, Request};
use super::error::NodeError;
use super::lanes::Lane;

/// What is counted of calls.
pub(super) struct Meters {
    calls: Vec<(&'static str, Counter, Histogram)>,
    errors: Vec<(&'static str, Counter)>,
    broadcasts_in_flight: Gauge,
    submissions_in_flight: Gauge,
    verifications_in_flight: Gauge,
    follows_in_flight: Gauge,
    /// The last state of the node that was logged: a kind of error, or `None` while it answers.
    trouble: Mutex<Option<&'static str>>,
}

impl Meters {
    pub(super) fn new() -> Self {
        let gauge = |lane: Lane| metrics::gauge!("jppd_node_calls_in_flight", "lane" => lane.name());
        let call = |name| {
            let counter = metrics::counter!("jppd_node_calls_total", "call" => name);
            (name, counter, metrics::histogram!("jppd_node_call_seconds", "call" => name))
        };
        let error = |kind| (kind, metrics::counter!("jppd_node_errors_total", "kind" => kind));
        Self {
            calls: Request::NAMES.into_iter().map(call).collect(),
            errors: NodeError::KINDS.into_iter().map(error).collect(),
            broadcasts_in_flight: gauge(Lane::Broadcast),
            submissions_in_flight: gauge(Lane::Submission),
            verifications_in_flight: gauge(Lane::Verification),
            follows_in_flight: gauge(Lane::Follow),
            trouble: Mutex::new(None),
        }
    }

    pub(super) fn begun(&self, lane: Lane) {
        self.in_flight(lane).increment(1.0);
    }

    pub(super) fn ended(
        &self,
        lane: Lane,
        request: &Request,
        took: Duration,
        result: &Result<Reply, NodeError>,
    ) {
        self.in_flight(lane).decrement(1.0);
        let name = request.name();
        if let Some((_, counter, seconds)) = self.calls.iter().find(|(known, ..)| *known == name) {
            counter.increment(1);
            seconds.record(took);
        }
        match result {
            Ok(_) => self.log_state(None, ""),
            Err(error) => {
                tracing::debug!(call = name, lane = lane.name(), ?took, %error, "a call to the node failed");
                self.failed(error);
            }
        }
    }

    /// Counts a failure, also one that never left this process.
    pub(super) fn failed(&self, error: &NodeError) {
        let kind = error.kind();
        if let Some((_, counter)) = self.errors.iter().find(|(known, _)| *known == kind) {
            counter.increment(1);
        }
        match error {
            NodeError::Unreachable
            | NodeError::Unauthorized
            | NodeError::Exhausted
            | NodeError::WarmingUp
            | NodeError::Expired => {
                self.log_state(Some(kind), &error.to_string());
            }
            // These say something about one call, not about the node.
            NodeError::Busy
            | NodeError::Timeout
            | NodeError::NoAnswer
            | NodeError::Rpc { .. }
            | NodeError::Malformed
            | NodeError::Internal => {}
        }
    }

    /// Logs a change of the node's state once, not with every call.
    fn log_state(&self, trouble: Option<&'static str>, words: &str) {
        let before = std::mem::replace(&mut *self.trouble.lock(), trouble);
        if before == trouble {
            return;
        }
        if trouble.is_some() {
            tracing::warn!("{words}");
        } else {
            tracing::info!("the node answers again");
        }
    }

    fn in_flight(&self, lane: Lane) -> &Gauge {
        match lane {
            Lane::Broadcast => &self.broadcasts_in_flight,
            Lane::Submission => &self.submissions_in_flight,
            Lane::Verification => &self.verifications_in_flight,
            Lane::Follow => &self.follows_in_flight,
        }
    }
}

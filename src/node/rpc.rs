//! The pool: callers are tasks, calls are made by threads.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::call::{Reply, Request};
use super::client::{Connect, NodeClient};
use super::clock::{NodeClock, running};
use super::credentials::Auth;
use super::error::{NodeError, StartError};
use super::lanes::{Asker, Lane, Lanes, Taken};
use super::meters::Meters;
use super::transport::Address;

/// The most threads, and so the most calls in flight. The node has four of its own by default.
const MOST_THREADS: usize = 4;

/// How long a connection is kept that nobody uses. A node that is told to stop waits for every idle connection (up to
/// its time-out of 30 s), so holding on to them would make each stop of the node that long.
const IDLE_LIMIT: Duration = Duration::from_secs(1);

/// How the node is called.
#[derive(Clone, PartialEq, Eq)]
pub struct RpcSettings {
    /// `http://host:port`. Credentials are not accepted in it.
    pub url: String,
    /// Who we are to the node.
    pub auth: Auth,
    /// How long a call may take, from the moment a thread takes it until its last byte. A batch of
    /// [`Request::RawTransactions`] is a call of its own.
    pub timeout: Duration,
    /// How many threads, and calls in flight: 1 to 4. Half of them, rounded up, are kept for submissions.
    pub threads: usize,
    /// How many submissions may wait for a thread before further ones are refused.
    pub submission_queue: usize,
    /// How many other calls may wait for a thread before further ones wait outside.
    pub follow_queue: usize,
    /// The largest reply, in bytes. A block takes twice its size.
    pub reply_limit: usize,
}

impl RpcSettings {
    /// Settings with the defaults: 15 s, 4 threads, queues of 256 submissions and of 64 questions of the follower, replies
    /// up to 256 MiB.
    #[must_use]
    pub fn new(url: impl Into<String>, auth: Auth) -> Self {
        Self {
            url: url.into(),
            auth,
            timeout: Duration::from_secs(15),
            threads: MOST_THREADS,
            submission_queue: 256,
            follow_queue: 64,
            reply_limit: 256 << 20,
        }
    }
}

impl fmt::Debug for RpcSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Somebody may have written a password into the address all the same.
        let url = self.url.rsplit('@').next().unwrap_or_default();
        f.debug_struct("RpcSettings")
            .field("url", &url)
            .field("auth", &self.auth)
            .field("timeout", &self.timeout)
            .field("threads", &self.threads)
            .field("submission_queue", &self.submission_queue)
            .field("follow_queue", &self.follow_queue)
            .field("reply_limit", &self.reply_limit)
            .finish()
    }
}

/// The node's RPC. Clones share one pool; when the last is dropped, threads end after the call they are in.
#[derive(Clone)]
pub struct Rpc {
    handle: Arc<Handle>,
}

impl Rpc {
    /// Starts the threads. Nothing is sent: a node that is down is not an error here.
    ///
    /// # Errors
    ///
    /// [`StartError::Url`] and [`StartError::Thread`].
    pub fn start(settings: RpcSettings) -> Result<Self, StartError> {
        let connect = Connect {
            address: Address::parse(&settings.url)?,
            auth: settings.auth,
            timeout: settings.timeout,
            reply_limit: settings.reply_limit,
            clock: Arc::default(),
        };
        let clock = connect.clock.clone();
        let threads = settings.threads.clamp(1, MOST_THREADS);
        let lanes = Arc::new(Lanes::new(threads, settings.submission_queue, settings.follow_queue));
        let meters = Arc::new(Meters::new());
        // Made first: if a thread cannot start, dropping it ends those that have.
        let handle = Handle { lanes, meters, clock, threads: Mutex::new(Vec::new()) };
        for number in 0..threads {
            let (lanes, meters) = (Arc::clone(&handle.lanes), Arc::clone(&handle.meters));
            let client = NodeClient::new(connect.clone());
            let thread = Builder::new().name(format!("node-rpc-{number}"));
            handle.threads.lock().push(thread.spawn(move || work(&lanes, &meters, client))?);
        }
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Makes a call and waits for its answer.
    ///
    /// A node that is busy is asked again, a few times, with pauses that grow. Dropping the future withdraws a read
    /// that no thread has taken yet. It never withdraws a [`Request::Send`] that is queued or in flight: such a
    /// broadcast happens, and only its answer is lost.
    ///
    /// # Errors
    ///
    /// See [`NodeError`]; for [`Request::Send`] see [`NodeError::effect_possible`].
    pub async fn call(&self, lane: Lane, request: Request) -> Result<Reply, NodeError> {
        self.call_for(Asker::default(), lane, request).await
    }

    /// Makes a call for a client, as [`Rpc::call`] does.
    ///
    /// # Errors
    ///
    /// As [`Rpc::call`]; [`NodeError::Busy`] too if this client has too many calls waiting.
    pub async fn call_for(&self, asker: Asker, lane: Lane, request: Request) -> Result<Reply, NodeError> {
        let request = Arc::new(request);
        let mut pauses = Pauses::new(lane);
        loop {
            let result = self.call_once(asker, lane, Arc::clone(&request)).await?;
            // Busy means that nothing was executed, so a broadcast may be repeated as well.
            if result == Err(NodeError::Busy)
                && let Some(pause) = pauses.next()
            {
                tracing::debug!(call = request.name(), ?pause, "the node is busy");
                tokio::time::sleep(pause).await;
                continue;
            }
            return result;
        }
    }

    /// Time of the node's clock, in milliseconds since 1970; `None` before the node's first answer.
    pub fn node_time_ms(&self) -> Option<u64> {
        self.handle.clock.at(running())
    }

    /// Stops: what is queued is answered with [`NodeError::Unreachable`], what is in flight comes to its end (within
    /// the time-out), and the threads are gone on return.
    pub async fn stop(&self) {
        self.handle.close();
        let threads = std::mem::take(&mut *self.handle.threads.lock());
        let joined = tokio::task::spawn_blocking(|| threads.into_iter().try_for_each(JoinHandle::join)).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("a thread of the node's pool ended by itself");
        }
    }

    /// The outer error: the call never got a place in its queue.
    async fn call_once(
        &self,
        asker: Asker,
        lane: Lane,
        request: Arc<Request>,
    ) -> Result<Result<Reply, NodeError>, NodeError> {
        let Handle { lanes, meters, .. } = &*self.handle;
        let place = lanes.place(lane, asker).await.inspect_err(|error| meters.failed(error))?;
        let (answer, waiting) = oneshot::channel();
        let job = Job { request, answer, span: tracing::Span::current() };
        lanes.push(lane, asker, job, place).map_err(|_| NodeError::Unreachable)?;
        // A thread always answers. If one did not, it is unknown how far it came.
        Ok(waiting.await.unwrap_or(Err(NodeError::Internal)))
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc").finish_non_exhaustive()
    }
}

struct Handle {
    lanes: Arc<Lanes<Job>>,
    meters: Arc<Meters>,
    clock: Arc<NodeClock>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Handle {
    fn close(&self) {
        for job in self.lanes.close() {
            let _ = job.answer.send(Err(NodeError::Unreachable));
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

struct Job {
    request: Arc<Request>,
    answer: oneshot::Sender<Result<Reply, NodeError>>,
    span: tracing::Span,
}

/// The life of a thread of the pool.
fn work(lanes: &Lanes<Job>, meters: &Meters, mut client: NodeClient) {
    loop {
        let (lane, job) = match lanes.take(IDLE_LIMIT) {
            Taken::Job(lane, job) => (lane, job),
            Taken::Nothing => {
                client.rest();
                continue;
            }
            Taken::Closed => return,
        };
        let _entered = job.span.enter();
        if job.answer.is_closed() && !matches!(*job.request, Request::Send(_)) {
            lanes.done(lane);
            continue;
        }
        meters.begun(lane);
        let started = Instant::now();
        // No reply of a node makes us panic. Should it ever happen, it must not cost a thread of four.
        let result = catch_unwind(AssertUnwindSafe(|| client.perform(&job.request))).unwrap_or_else(|_| {
            tracing::error!(call = job.request.name(), "a call to the node panicked");
            Err(NodeError::Internal)
        });
        lanes.done(lane);
        meters.ended(lane, &job.request, started.elapsed(), &result);
        let _ = job.answer.send(result);
    }
}

/// The pauses before a busy node is asked again: each twice the one before, shortened by a random part of up to
/// half, so that callers who were refused together do not come back together.
struct Pauses {
    next: Duration,
    left: u32,
}

impl Pauses {
    fn new(lane: Lane) -> Self {
        // About 0.2 s for somebody who waits at a till, about 1.6 s for the follower.
        let left = match lane {
            Lane::Broadcast | Lane::Submission | Lane::Verification => 3,
            Lane::Follow => 6,
        };
        Self { next: Duration::from_millis(25), left }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let pause = self.next;
        self.next = pause.saturating_mul(2);
        // The standard library's hash keys are random; that is all the randomness a pause needs.
        let random = RandomState::new().build_hasher().finish();
        let half = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX).div_euclid(2);
        Some(pause.saturating_sub(Duration::from_micros(random.checked_rem(half).unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_bounds_and_end() {
        for (lane, count) in [(Lane::Broadcast, 3), (Lane::Submission, 3), (Lane::Follow, 6)] {
            let pauses: Vec<Duration> = Pauses::new(lane).collect();
            assert_eq!(pauses.len(), count);
            for (number, pause) in (0..).zip(pauses) {
                let most = Duration::from_millis(25 << number);
                assert!(pause <= most && pause >= most / 2, "{pause:?} of {most:?}");
            }
        }
    }

    #[test]
    fn settings_never_print_a_secret() {
        let auth = Auth::UserPassword { user: "alice".into(), password_file: "/run/password".into() };
        let settings = RpcSettings::new("http://alice:sesame@127.0.0.1:8332", auth);
        let printed = format!("{settings:?}");
        assert!(printed.contains("127.0.0.1:8332"), "{printed}");
        assert!(!printed.contains("sesame") && !printed.contains("alice"), "{printed}");
        assert!(matches!(Rpc::start(settings), Err(StartError::Url(_))));
    }
}

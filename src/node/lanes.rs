//! The budget of calls in flight: four bounded queues, and which of them a free thread takes from.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::error::NodeError;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The broadcast of a submission that was checked and claimed. It goes before all checks, and has places of its
    /// own: whoever submits what costs the node many look-ups must not keep back what is as good as paid.
    Broadcast,
    /// The checks of a payment: somebody waits at a till. It may use every thread; when its queue is full it is refused at
    /// once, for the payer's wallet can try again and a longer queue would only make everybody late.
    Submission,
    /// The checks of a transaction that is only to be verified, which costs its sender nothing. It may use half of the
    /// threads, and has half as many places as payments have, of its own; it is refused as those are.
    Verification,
    /// Following the node. It may use half of the threads, and waits when its queue is full.
    Follow,
}

impl Lane {
    /// A word for metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Submission => "submission",
            Self::Verification => "verification",
            Self::Follow => "follow",
        }
    }
}

/// Client that makes a call: one number for each client, 0 for the daemon itself. Clients take turns in the lanes of
/// submissions and verifications, so that a client with many calls does not make the others wait for all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Asker(pub u64);

/// Calls of one client that may wait in one lane.
const MOST_OF_ONE: usize = 16;

/// A queue in which clients take turns.
struct Turns<J> {
    by_asker: HashMap<Asker, VecDeque<J>>,
    /// The askers with jobs, the next one first.
    order: VecDeque<Asker>,
}

impl<J> Turns<J> {
    fn new() -> Self {
        Self { by_asker: HashMap::new(), order: VecDeque::new() }
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether this client has as many calls in the queue as it can have. The daemon itself has no such limit.
    fn is_full_for(&self, asker: Asker) -> bool {
        asker != Asker::default() && self.by_asker.get(&asker).is_some_and(|jobs| jobs.len() >= MOST_OF_ONE)
    }

    fn push(&mut self, asker: Asker, job: J) {
        let jobs = self.by_asker.entry(asker).or_default();
        if jobs.is_empty() {
            self.order.push_back(asker);
        }
        jobs.push_back(job);
    }

    fn pop(&mut self) -> Option<J> {
        let asker = self.order.pop_front()?;
        let jobs = self.by_asker.get_mut(&asker)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.by_asker.remove(&asker);
        } else {
            self.order.push_back(asker);
        }
        job
    }
}

/// A place in a lane's queue. It is given back when a thread takes the job.
pub(super) struct Place(#[expect(dead_code, reason = "dropping it is its use")] OwnedSemaphorePermit);

/// What a thread gets when it asks for work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<J> {
    /// This job.
    Job(Lane, J),
    /// Nothing for now.
    Nothing,
    /// Nothing any more.
    Closed,
}

/// The queues between callers and threads.
pub(super) struct Lanes<J> {
    queues: Mutex<Queues<J>>,
    wake: Condvar,
    broadcast_places: Arc<Semaphore>,
    submission_places: Arc<Semaphore>,
    verification_places: Arc<Semaphore>,
    follow_places: Arc<Semaphore>,
    /// How many threads may follow, and how many may verify.
    half: usize,
}

struct Queues<J> {
    broadcast: VecDeque<(J, Place)>,
    submission: Turns<(J, Place)>,
    verification: Turns<(J, Place)>,
    follow: VecDeque<(J, Place)>,
    follow_running: usize,
    verification_running: usize,
    /// Whether the last job taken was of the follow lane.
    followed: bool,
    closed: bool,
}

impl<J> Lanes<J> {
    /// Queues for so many threads, of so many places each; broadcasts have as many as checks of payments, and checks of
    /// verifications half as many.
    pub(super) fn new(threads: usize, submission_places: usize, follow_places: usize) -> Self {
        let places = |places: usize| Arc::new(Semaphore::new(places.clamp(1, 1 << 16)));
        Self {
            queues: Mutex::new(Queues {
                broadcast: VecDeque::new(),
                submission: Turns::new(),
                verification: Turns::new(),
                follow: VecDeque::new(),
                follow_running: 0,
                verification_running: 0,
                followed: false,
                closed: false,
            }),
            wake: Condvar::new(),
            broadcast_places: places(submission_places),
            submission_places: places(submission_places),
            verification_places: places(submission_places.div_euclid(2)),
            follow_places: places(follow_places),
            half: threads.div_euclid(2).max(1),
        }
    }

    /// Waits for a place, or does not, as [`Lane`] says.
    pub(super) async fn place(&self, lane: Lane, asker: Asker) -> Result<Place, NodeError> {
        let is_full = match lane {
            Lane::Submission => self.queues.lock().submission.is_full_for(asker),
            Lane::Verification => self.queues.lock().verification.is_full_for(asker),
            Lane::Broadcast | Lane::Follow => false,
        };
        if is_full {
            return Err(NodeError::Busy);
        }
        let at_once = |places: &Arc<Semaphore>| {
            Arc::clone(places).try_acquire_owned().map_err(|error| match error {
                TryAcquireError::NoPermits => NodeError::Busy,
                TryAcquireError::Closed => NodeError::Unreachable,
            })
        };
        let permit = match lane {
            Lane::Broadcast => at_once(&self.broadcast_places)?,
            Lane::Submission => at_once(&self.submission_places)?,
            Lane::Verification => at_once(&self.verification_places)?,
            Lane::Follow => {
                Arc::clone(&self.follow_places).acquire_owned().await.map_err(|_| NodeError::Unreachable)?
            }
        };
        Ok(Place(permit))
    }

    /// Puts a job into its queue; gives it back when the queues are closed.
    pub(super) fn push(&self, lane: Lane, asker: Asker, job: J, place: Place) -> Result<(), J> {
        let mut queues = self.queues.lock();
        if queues.closed {
            return Err(job);
        }
        match lane {
            Lane::Broadcast => queues.broadcast.push_back((job, place)),
            Lane::Submission => queues.submission.push(asker, (job, place)),
            Lane::Verification => queues.verification.push(asker, (job, place)),
            Lane::Follow => queues.follow.push_back((job, place)),
        }
        drop(queues);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for a job that may run now, but no longer than so long.
    pub(super) fn take(&self, patience: Duration) -> Taken<J> {
        let mut queues = self.queues.lock();
        loop {
            if queues.closed {
                return Taken::Closed;
            }
            if let Some((lane, job)) = queues.next(self.half) {
                return Taken::Job(lane, job);
            }
            if self.wake.wait_for(&mut queues, patience).timed_out() {
                return Taken::Nothing;
            }
        }
    }

    /// Says that a job taken has ended.
    pub(super) fn done(&self, lane: Lane) {
        let mut queues = self.queues.lock();
        let running = match lane {
            Lane::Follow => &mut queues.follow_running,
            Lane::Verification => &mut queues.verification_running,
            Lane::Broadcast | Lane::Submission => return,
        };
        *running = running.saturating_sub(1);
        drop(queues);
        // A thread may sleep although a job of this lane waits.
        self.wake.notify_one();
    }

    /// Closes the queues and returns what was in them.
    pub(super) fn close(&self) -> Vec<J> {
        self.broadcast_places.close();
        self.submission_places.close();
        self.verification_places.close();
        self.follow_places.close();
        let mut queues = self.queues.lock();
        queues.closed = true;
        let mut left: Vec<J> = queues.broadcast.drain(..).map(|(job, _)| job).collect();
        while let Some((job, _)) = queues.submission.pop() {
            left.push(job);
        }
        while let Some((job, _)) = queues.verification.pop() {
            left.push(job);
        }
        left.extend(queues.follow.drain(..).map(|(job, _)| job));
        drop(queues);
        self.wake.notify_all();
        left
    }
}

impl<J> Queues<J> {
    /// Broadcasts go first, then the checks of payments, then those of verifications, but one thread follows the chain even
    /// under a storm of submissions.
    fn next(&mut self, half: usize) -> Option<(Lane, J)> {
        let follows = !self.follow.is_empty() && self.follow_running < half;
        let verifies = !self.verification.is_empty() && self.verification_running < half;
        let starved = self.follow_running == 0 && !self.followed;
        if follows && (starved || self.broadcast.is_empty() && self.submission.is_empty() && !verifies) {
            self.followed = true;
            self.follow_running = self.follow_running.saturating_add(1);
            return self.follow.pop_front().map(|(job, _)| (Lane::Follow, job));
        }
        self.followed = false;
        if let Some((job, _)) = self.broadcast.pop_front() {
            return Some((Lane::Broadcast, job));
        }
        if let Some((job, _)) = self.submission.pop() {
            return Some((Lane::Submission, job));
        }
        if !verifies {
            return None;
        }
        self.verification_running = self.verification_running.saturating_add(1);
        self.verification.pop().map(|(job, _)| (Lane::Verification, job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(lanes: &Lanes<u32>) -> Option<(Lane, u32)> {
        match lanes.take(Duration::ZERO) {
            Taken::Job(lane, job) => Some((lane, job)),
            Taken::Nothing | Taken::Closed => None,
        }
    }

    async fn push(lanes: &Lanes<u32>, lane: Lane, job: u32) {
        push_for(lanes, lane, Asker::default(), job).await;
    }

    async fn push_for(lanes: &Lanes<u32>, lane: Lane, asker: Asker, job: u32) {
        let place = lanes.place(lane, asker).await.unwrap();
        lanes.push(lane, asker, job, place).unwrap();
    }

    #[tokio::test]
    async fn clients_take_turns_and_one_alone_does_not_fill_a_lane() {
        let lanes = Lanes::new(4, 64, 8);
        for lane in [Lane::Submission, Lane::Verification] {
            for job in 0..16 {
                push_for(&lanes, lane, Asker(1), job).await;
            }
            let full = lanes.place(lane, Asker(1)).await;
            assert_eq!(full.err(), Some(NodeError::Busy));
            push_for(&lanes, lane, Asker(2), 100).await;
            push_for(&lanes, lane, Asker(3), 200).await;
            let mut taken = Vec::new();
            while let Some((lane, job)) = take(&lanes) {
                lanes.done(lane);
                taken.push(job);
            }
            assert_eq!(taken[..4], [0, 100, 200, 1]);
            assert_eq!(taken.len(), 18);
        }
    }

    #[tokio::test]
    async fn following_takes_half_of_the_threads_at_most() {
        let lanes = Lanes::new(4, 8, 8);
        for job in 0..4 {
            push(&lanes, Lane::Follow, job).await;
        }
        assert_eq!(take(&lanes), Some((Lane::Follow, 0)));
        assert_eq!(take(&lanes), Some((Lane::Follow, 1)));
        assert_eq!(
            lanes.take(Duration::ZERO),
            Taken::Nothing,
            "a third would take a thread kept for submissions"
        );
        push(&lanes, Lane::Submission, 10).await;
        push(&lanes, Lane::Submission, 11).await;
        assert_eq!(take(&lanes), Some((Lane::Submission, 10)));
        lanes.done(Lane::Follow);
        assert_eq!(take(&lanes), Some((Lane::Submission, 11)));
        assert_eq!(take(&lanes), Some((Lane::Follow, 2)));
    }

    #[tokio::test]
    async fn a_storm_of_submissions_leaves_one_thread_to_follow() {
        let lanes = Lanes::new(4, 8, 8);
        for job in 0..8 {
            push(&lanes, Lane::Submission, job).await;
        }
        push(&lanes, Lane::Follow, 100).await;
        push(&lanes, Lane::Follow, 101).await;
        let taken: Vec<_> = (0..4).filter_map(|_| take(&lanes)).map(|(_, job)| job).collect();
        assert_eq!(taken, [100, 0, 1, 2]);
    }

    #[tokio::test]
    async fn a_broadcast_waits_for_no_checks() {
        let lanes = Lanes::new(4, 2, 8);
        push(&lanes, Lane::Submission, 0).await;
        push(&lanes, Lane::Submission, 1).await;
        assert_eq!(lanes.place(Lane::Submission, Asker::default()).await.err(), Some(NodeError::Busy));
        push(&lanes, Lane::Broadcast, 10).await;
        assert_eq!(take(&lanes), Some((Lane::Broadcast, 10)));
        // But the chain is followed even so.
        push(&lanes, Lane::Broadcast, 11).await;
        push(&lanes, Lane::Follow, 20).await;
        assert_eq!(take(&lanes), Some((Lane::Follow, 20)));
        assert_eq!(take(&lanes), Some((Lane::Broadcast, 11)));
        assert_eq!(take(&lanes), Some((Lane::Submission, 0)));
    }

    #[tokio::test]
    async fn verifications_leave_half_of_the_places_and_threads_to_payments() {
        let lanes = Lanes::new(4, 8, 8);
        for job in 0..4 {
            push(&lanes, Lane::Verification, job).await;
        }
        assert_eq!(lanes.place(Lane::Verification, Asker::default()).await.err(), Some(NodeError::Busy));
        assert_eq!(take(&lanes), Some((Lane::Verification, 0)));
        assert_eq!(take(&lanes), Some((Lane::Verification, 1)));
        assert_eq!(take(&lanes), None, "a third would take a thread kept for payments");
        for job in 10..18 {
            push(&lanes, Lane::Submission, job).await;
        }
        assert_eq!(lanes.place(Lane::Submission, Asker::default()).await.err(), Some(NodeError::Busy));
        assert_eq!(take(&lanes), Some((Lane::Submission, 10)));
        lanes.done(Lane::Verification);
        assert_eq!(take(&lanes), Some((Lane::Submission, 11)), "payments go first");
        push(&lanes, Lane::Follow, 20).await;
        assert_eq!(take(&lanes), Some((Lane::Follow, 20)), "and the chain is followed even so");
        for job in 12..18 {
            assert_eq!(take(&lanes), Some((Lane::Submission, job)));
        }
        assert_eq!(take(&lanes), Some((Lane::Verification, 2)));
        assert_eq!(take(&lanes), None);
        lanes.done(Lane::Verification);
        assert_eq!(take(&lanes), Some((Lane::Verification, 3)));
    }

    #[tokio::test]
    async fn with_one_thread_the_lanes_alternate() {
        let lanes = Lanes::new(1, 8, 8);
        for job in 0..3 {
            push(&lanes, Lane::Submission, job).await;
            push(&lanes, Lane::Follow, 100 + job).await;
        }
        let mut taken = Vec::new();
        for _ in 0..6 {
            let (lane, job) = take(&lanes).unwrap();
            lanes.done(lane);
            taken.push(job);
        }
        assert_eq!(taken, [100, 0, 101, 1, 102, 2]);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_submissions_and_lets_following_wait() {
        let lanes = Arc::new(Lanes::new(4, 1, 1));
        push(&lanes, Lane::Submission, 0).await;
        assert_eq!(lanes.place(Lane::Submission, Asker::default()).await.err(), Some(NodeError::Busy));
        push(&lanes, Lane::Follow, 1).await;
        let waiting = tokio::spawn({
            let lanes = Arc::clone(&lanes);
            async move { lanes.place(Lane::Follow, Asker::default()).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert_eq!(take(&lanes), Some((Lane::Follow, 1)));
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn closed_lanes_give_back_what_they_hold() {
        let lanes = Lanes::new(4, 8, 8);
        push(&lanes, Lane::Submission, 1).await;
        push(&lanes, Lane::Follow, 2).await;
        let place = lanes.place(Lane::Follow, Asker::default()).await.unwrap();
        assert_eq!(lanes.close(), [1, 2]);
        assert_eq!(lanes.push(Lane::Follow, Asker::default(), 3, place), Err(3));
        assert_eq!(lanes.take(Duration::ZERO), Taken::Closed);
        assert_eq!(lanes.place(Lane::Submission, Asker::default()).await.err(), Some(NodeError::Unreachable));
        assert_eq!(lanes.place(Lane::Follow, Asker::default()).await.err(), Some(NodeError::Unreachable));
    }
}

//! The loop around a submission's course.

use std::{future::Future, sync::Arc};

use tokio::sync::Semaphore;

use super::{Accepted, Answer, Course, Moment, Step, Submission, SubmitError};
use crate::{
    engine::{Engine, Sightings, running},
    ledger::{Action, Rules, View},
    node::{Asker, Lane, Request, Rpc},
};

/// Takes submissions. Cheap to clone.
#[derive(Debug)]
pub struct Submitter<S> {
    store: Arc<S>,
    engine: Engine,
    rpc: Rpc,
    sightings: Arc<Sightings>,
    rules: Arc<Rules>,
    room: Arc<Semaphore>,
}

impl<S> Clone for Submitter<S> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            engine: self.engine.clone(),
            rpc: self.rpc.clone(),
            sightings: self.sightings.clone(),
            rules: self.rules.clone(),
            room: self.room.clone(),
        }
    }
}

impl<S: View + Send + Sync + 'static> Submitter<S> {
    /// A submitter that works on at most `most` submissions at once.
    pub fn new(
        store: Arc<S>,
        engine: Engine,
        rpc: Rpc,
        sightings: Arc<Sightings>,
        rules: Rules,
        most: usize,
    ) -> Self {
        Self { store, engine, rpc, sightings, rules: Arc::new(rules), room: Arc::new(Semaphore::new(most)) }
    }

    /// Checks a submission as [`Submitter::pay`] would, without any effect: nothing is claimed, nothing is
    /// broadcast, signed or not.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub async fn verify(&self, asker: Asker, submission: Submission) -> Result<Accepted, SubmitError> {
        self.detached(asker, Course::verify(submission, self.rules.clone())).await
    }

    /// Pays: checks, claim, broadcast, credit. It runs to its end even if the caller is dropped.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub async fn pay(&self, asker: Asker, submission: Submission) -> Result<Accepted, SubmitError> {
        self.detached(asker, Course::pay(submission, self.rules.clone())).await
    }

    fn detached(
        &self,
        asker: Asker,
        course: Course,
    ) -> impl Future<Output = Result<Accepted, SubmitError>> + use<S> {
        let this = self.clone();
        async move {
            let Ok(permit) = this.room.clone().try_acquire_owned() else { return Err(SubmitError::Busy) };
            let task = tokio::spawn(async move {
                let accepted = this.run(asker, course).await;
                drop(permit);
                accepted
            });
            task.await.unwrap_or(Err(SubmitError::Unavailable))
        }
    }

    async fn run(&self, asker: Asker, mut course: Course) -> Result<Accepted, SubmitError> {
        let mut answer = Answer::Begin;
        loop {
            let moment = Moment {
                now: self.engine.now(),
                order: self.engine.order(),
                sightings: &self.sightings,
                covered: self.sightings.coverage().is_current(running()),
            };
            let step = course.on(answer, &*self.store, moment).map_err(|error| {
                tracing::error!(%error, "a submission could not be judged");
                SubmitError::Unavailable
            })?;
            answer = match step {
                Step::Ask(request) => {
                    let lane = if let Request::Send(_) = request {
                        Lane::Broadcast
                    } else if course.is_verification() {
                        Lane::Verification
                    } else {
                        Lane::Submission
                    };
                    Answer::Node(self.rpc.call_for(asker, lane, request).await)
                }
                Step::Pause(pause) => {
                    tokio::time::sleep(pause).await;
                    Answer::Paused
                }
                Step::AwaitPass => Answer::Passed(self.sightings.coverage().pass().await),
                // A claim can be refused for want of room. What follows a broadcast cannot: it waits.
                Step::Apply(action) if matches!(*action, Action::Claim(_)) => {
                    Answer::Applied(self.engine.try_apply(*action).await)
                }
                Step::Apply(action) => Answer::Applied(self.engine.apply(*action).await),
                Step::Done(accepted) => return accepted,
            };
        }
    }
}

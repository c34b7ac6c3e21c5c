//! The signatures of requests: each is made once, and one at a time.
//!
//! A signature costs most of a millisecond of a core, and anybody who knows an invoice can ask for its document as often
//! as he likes. The document is the same bytes until the invoice ends, and RSASSA-PKCS1-v1_5 knows no chance: the same
//! bytes have the same signature. So it is kept under the SHA-256 of what it signs, and cannot be out of date: another
//! byte is another key.
//!
//! What is left is a stranger with more invoices than are kept here. He can keep one core busy and no more: one
//! signature is made at a time, away from the threads that serve requests. Others wait in the order in which they came,
//! one for each connection at most; who finds his signature here does not wait.

use std::{num::NonZeroUsize, sync::Arc};

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::api::signing::{SigningFailed, X509Signer};

/// How many signatures are kept, at half a kilobyte each, or less than a whole one of the longest key.
const MOST_KEPT: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// The key that signs requests, and what it signed of late.
#[derive(Clone, Debug)]
pub(in crate::api) struct Signatures {
    signer: Arc<X509Signer>,
    kept: Arc<Mutex<LruCache<[u8; 32], Bytes>>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Signatures {
    /// Nothing is signed yet.
    pub(in crate::api) fn new(signer: Arc<X509Signer>) -> Self {
        Self::keeping(MOST_KEPT, signer)
    }

    fn keeping(most: NonZeroUsize, signer: Arc<X509Signer>) -> Self {
        Self { signer, kept: Arc::new(Mutex::new(LruCache::new(most))), turn: Arc::default() }
    }

    /// Who signs.
    pub(super) fn signer(&self) -> &X509Signer {
        &self.signer
    }

    /// The signature over these bytes, kept or new; see [`X509Signer::sign`].
    ///
    /// # Errors
    ///
    /// [`SigningFailed`]. That is not kept: the next request tries again.
    pub(super) async fn of(&self, bytes: Vec<u8>) -> Result<Bytes, SigningFailed> {
        let key: [u8; 32] = Sha256::digest(&bytes).into();
        if let Some(signature) = self.kept(&key) {
            return Ok(signature);
        }
        let turn = self.turn.clone().lock_owned().await;
        // Whoever had the turn before may have asked for the same.
        if let Some(signature) = self.kept(&key) {
            return Ok(signature);
        }
        metrics::counter!("jppd_bip70_signatures_total").increment(1);
        let Self { signer, kept, .. } = self.clone();
        // The turn lasts until the signature is kept, even if nobody waits for it any more.
        let signed = tokio::task::spawn_blocking(move || {
            let signature = Bytes::from(signer.sign(&bytes)?);
            kept.lock().put(key, signature.clone());
            drop(turn);
            Ok(signature)
        });
        signed.await.map_err(|_| SigningFailed)?
    }

    fn kept(&self, key: &[u8; 32]) -> Option<Bytes> {
        self.kept.lock().get(key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::join_all};
    use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

    use super::*;
    use crate::api::signing::authority::{Authority, RSA};

    fn signatures(test: &str, most: usize) -> Option<Signatures> {
        let authority = Authority::new(test)?;
        authority.issue("shop", RSA);
        let signer =
            X509Signer::from_pem(&authority.read("shop.chain"), &authority.read("shop.key")).unwrap();
        Some(Signatures::keeping(NonZeroUsize::new(most).unwrap(), Arc::new(signer)))
    }

    /// Counts what is made on this thread.
    fn meter() -> PrometheusRecorder {
        PrometheusBuilder::new().build_recorder()
    }

    fn made(meter: &PrometheusRecorder) -> usize {
        let text = meter.handle().render();
        let line = text.lines().find_map(|line| line.strip_prefix("jppd_bip70_signatures_total "));
        line.map_or(0, |count| count.parse().unwrap())
    }

    #[tokio::test]
    async fn the_same_bytes_are_signed_once_and_others_again() {
        let Some(signatures) = signatures("the_same_bytes_are_signed_once", 2) else { return };
        let meter = meter();
        let _metered = metrics::set_default_local_recorder(&meter);
        // What is asked for; how many signatures were made until then: two are kept, those asked for last.
        let table = [("a", 1), ("a", 1), ("b", 2), ("a", 2), ("c", 3), ("a", 3), ("b", 4), ("c", 5)];
        for (number, (bytes, count)) in table.into_iter().enumerate() {
            let signature = signatures.of(bytes.into()).await.unwrap();
            assert_eq!(signature, signatures.signer().sign(bytes.as_bytes()).unwrap(), "{number}");
            assert_eq!(made(&meter), count, "{number}: {bytes}");
            assert!(signatures.kept.lock().len() <= 2);
        }
    }

    #[tokio::test]
    async fn one_is_made_at_a_time_and_those_that_are_kept_do_not_wait() {
        let Some(signatures) = signatures("one_is_made_at_a_time", 8) else { return };
        let meter = meter();
        let _metered = metrics::set_default_local_recorder(&meter);
        signatures.of(b"kept".to_vec()).await.unwrap();
        let turn = signatures.turn.clone().lock_owned().await;
        let mut waiting: Vec<_> = ["a", "b", "a", "c", "b", "a"]
            .into_iter()
            .map(|bytes| Box::pin(signatures.of(bytes.into())))
            .collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        assert!(signatures.of(b"kept".to_vec()).now_or_never().unwrap().is_ok());
        assert_eq!(made(&meter), 1, "nothing is signed out of turn");
        drop(turn);
        let answers = join_all(waiting).await;
        assert_eq!((&answers[0], &answers[1]), (&answers[2], &answers[4]));
        assert_eq!(made(&meter), 4, "three that differ, each once");
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_keeps_its_turn_to_the_end() {
        let Some(signatures) = signatures("a_request_that_is_given_up", 8) else { return };
        let meter = meter();
        let _metered = metrics::set_default_local_recorder(&meter);
        assert!(signatures.of(b"a".to_vec()).now_or_never().is_none());
        signatures.of(b"b".to_vec()).await.unwrap();
        assert_eq!(signatures.kept.lock().len(), 2, "the one before was made, and is kept");
        signatures.of(b"a".to_vec()).await.unwrap();
        assert_eq!(made(&meter), 2);
    }
}

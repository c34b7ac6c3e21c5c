//! Watches the dates of the certificate that signs BIP70 requests while the daemon runs.
//!
//! The files are read at the start alone, and a daemon that nobody restarts outlives them. What there is to say is said
//! when it begins to be true, and not again; how long there is tells a gauge, so that an alarm can be set.

use std::sync::Arc;

use crate::{
    api::signing::{Concern, X509Signer},
    invoice::Timestamp,
};

/// The certificate, and what was said of it last.
#[derive(Debug)]
pub(super) struct CertificateWatch {
    signer: Arc<X509Signer>,
    told: Option<Concern>,
}

/// Something about the dates of a certificate that was not so before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Concern(Concern),
    /// There is nothing more to be said of it.
    Sound,
}

impl CertificateWatch {
    /// Begins at a moment of which the configuration has told already.
    pub(super) fn new(signer: Arc<X509Signer>, now: Timestamp) -> Self {
        let validity = signer.validity();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge is a float; seconds until the year 9999 are exact"
        )]
        metrics::gauge!("jppd_bip70_certificate_expires_seconds").set(validity.until().secs() as f64);
        let told = validity.concern(now);
        Self { signer, told }
    }

    /// Says in the log what has changed since the last look.
    pub(super) fn look(&mut self, now: Timestamp) {
        match self.news(now) {
            None => {}
            Some(News::Concern(concern)) => tracing::warn!("bip70.certificate_file: {concern}"),
            Some(News::Sound) => tracing::info!("bip70.certificate_file: the certificates are valid now"),
        }
    }

    fn news(&mut self, now: Timestamp) -> Option<News> {
        let concern = self.signer.validity().concern(now);
        if concern == self.told {
            return None;
        }
        self.told = concern;
        Some(concern.map_or(News::Sound, News::Concern))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::api::signing::authority::{Authority, RSA};

    #[test]
    fn every_change_is_told_once_and_the_end_is_a_gauge() {
        let Some(authority) = Authority::new("every_change_is_told_once") else { return };
        authority.issue("shop", RSA);
        let signer =
            X509Signer::from_pem(&authority.read("shop.chain"), &authority.read("shop.key")).unwrap();
        let (from, until) = (signer.validity().from(), signer.validity().until());
        let second = Duration::from_secs(1);
        let before = Timestamp::from_secs(from.secs() - 1);
        let meter = PrometheusBuilder::new().build_recorder();
        let mut watch =
            metrics::with_local_recorder(&meter, || CertificateWatch::new(Arc::new(signer), before));
        let table = [
            (before, None),
            (from, Some(News::Sound)),
            (from.after(second), None),
            (Timestamp::from_secs(until.secs() - 24 * 3600), Some(News::Concern(Concern::EndsSoon(until)))),
            (until, None),
            (until.after(second), Some(News::Concern(Concern::Expired(until)))),
            (until.after(2 * second), None),
            (until, Some(News::Concern(Concern::EndsSoon(until)))),
        ];
        for (now, news) in table {
            assert_eq!(watch.news(now), news, "{now}");
        }
        let line = format!("\njppd_bip70_certificate_expires_seconds {}\n", until.secs());
        let metrics = meter.handle().render();
        assert!(metrics.contains(&line), "{metrics}");
    }
}

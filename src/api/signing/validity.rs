//! The dates of a chain of certificates.
//!
//! A wallet refuses a request that an expired certificate signs, and most pay one that nobody signed. So outside its
//! dates a chain signs nothing. They are those of every certificate in it, since wallets look at all of them.

use std::{fmt, time::Duration};

use rustls::pki_types::CertificateDer;
use x509_cert::{Certificate, der::Decode as _, time::Time};

use super::X509Error;
use crate::invoice::Timestamp;

/// How long before its end a certificate is worth a word. certbot renews one 30 days before.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// From when until when every certificate of a chain is valid, both moments included (RFC 5280, 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    from: Timestamp,
    until: Timestamp,
}

/// What is to be said of the dates of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// It begins at this moment.
    NotYet(Timestamp),
    /// It ends at this moment, in 14 days at most.
    EndsSoon(Timestamp),
    /// It ended at this moment.
    Expired(Timestamp),
}

impl Validity {
    /// The dates that all certificates of a chain have in common, each in DER.
    ///
    /// # Errors
    ///
    /// [`X509Error::Certificates`] with the number of the one that cannot be read.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Result<Self, X509Error> {
        let mut common = Self { from: Timestamp::default(), until: Timestamp::MAX };
        for (number, der) in (1..).zip(chain) {
            let certificate = Certificate::from_der(der).map_err(|_| {
                X509Error::Certificates(format!(
                    "certificate {number} in it cannot be read: this must be X.509"
                ))
            })?;
            let dates = certificate.tbs_certificate().validity();
            common.from = common.from.max(moment(dates.not_before));
            common.until = common.until.min(moment(dates.not_after));
        }
        Ok(common)
    }

    /// The first moment at which all certificates are valid.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// The last moment at which all certificates are valid.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether a wallet takes what is signed at a moment.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.from <= now && now <= self.until
    }

    /// What is to be said at a moment, if anything is.
    pub fn concern(&self, now: Timestamp) -> Option<Concern> {
        if now > self.until {
            Some(Concern::Expired(self.until))
        } else if now < self.from {
            Some(Concern::NotYet(self.from))
        } else {
            (self.until.since(now) <= SOON).then_some(Concern::EndsSoon(self.until))
        }
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet(from) => {
                write!(f, "a certificate is not valid before {from}; until then BIP70 requests go unsigned")
            }
            Self::EndsSoon(until) => {
                write!(f, "a certificate expires at {until}; from then on BIP70 requests go unsigned")
            }
            Self::Expired(until) => write!(f, "a certificate expired at {until}; BIP70 requests go unsigned"),
        }
    }
}

fn moment(time: Time) -> Timestamp {
    Timestamp::from_secs(time.to_unix_duration().as_secs())
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;
    use rustls::pki_types::pem::PemObject as _;

    use super::{
        super::authority::{Authority, RSA},
        *,
    };

    #[test]
    fn the_dates_are_those_that_openssl_reads_and_the_narrowest_of_the_chain() {
        let Some(authority) = Authority::new("the_dates_are_those_that_openssl_reads") else { return };
        authority.issue_for("short", RSA, 10);
        // Beyond 2049 a date is written another way.
        authority.issue_for("long", RSA, 20_000);
        authority.issue_for("expired", RSA, -1);
        let said = |name: &str, which: &str| {
            let line = authority.openssl(&format!("x509 -in {name}.pem -noout -{which}"));
            let (_, date) = line.trim().split_once('=').unwrap();
            let date = NaiveDateTime::parse_from_str(date, "%b %e %H:%M:%S %Y GMT").unwrap();
            Timestamp::from_millis(date.and_utc().timestamp_millis().try_into().unwrap())
        };
        let read = |file: &str| {
            let pem = authority.read(file);
            let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect();
            Validity::of(&chain).unwrap()
        };
        for name in ["root", "short", "long", "expired"] {
            let dates = Validity { from: said(name, "startdate"), until: said(name, "enddate") };
            assert_eq!(read(&format!("{name}.pem")), dates, "{name}");
        }
        for (name, ends_first) in [("short", "short"), ("long", "root"), ("expired", "expired")] {
            let dates = Validity { from: said(name, "startdate"), until: said(ends_first, "enddate") };
            assert_eq!(read(&format!("{name}.chain")), dates, "{name}");
        }
    }

    #[test]
    fn what_is_said_and_when() {
        let day = 24 * 3600;
        let at = |days: u64| Timestamp::from_secs(days * day);
        let (second, millisecond) = (Duration::from_secs(1), Duration::from_millis(1));
        let dates = Validity { from: at(100), until: at(200) };
        let table = [
            (at(0), false, Some(Concern::NotYet(at(100)))),
            (Timestamp::from_secs(100 * day - 1), false, Some(Concern::NotYet(at(100)))),
            (at(100), true, None),
            (Timestamp::from_secs(186 * day - 1), true, None),
            (at(186), true, Some(Concern::EndsSoon(at(200)))),
            (at(200), true, Some(Concern::EndsSoon(at(200)))),
            (at(200).after(millisecond), false, Some(Concern::Expired(at(200)))),
            (at(200).after(second), false, Some(Concern::Expired(at(200)))),
        ];
        for (now, holds, concern) in table {
            assert_eq!((dates.holds_at(now), dates.concern(now)), (holds, concern), "{now}");
        }
        let expired = Concern::Expired(at(200)).to_string();
        assert_eq!(expired, "a certificate expired at 1970-07-20T00:00:00.000Z; BIP70 requests go unsigned");
    }
}

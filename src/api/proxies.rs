//! The client behind a proxy.
//!
//! `X-Forwarded-For` and `Forwarded` are anybody's claim: they count where they come from a proxy that the operator
//! trusts, and nowhere else. Each proxy appends the address that it was asked from, so the right-most address that is
//! not itself a trusted proxy is the last one that somebody trusted has seen. Everything left of it may be invented.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName, header::FORWARDED};
use ipnet::IpNet;
use parking_lot::Mutex;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The shortest time between two warnings.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(600);

/// The proxies whose word about a client's address counts. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
    warned: Arc<Mutex<Option<Instant>>>,
}

impl TrustedProxies {
    /// Trusts the addresses in these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        Self { networks: networks.into(), warned: Arc::default() }
    }

    /// Whether an address is one of a trusted proxy.
    pub(super) fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The address of the client that a request comes from, by the address of the connection and the headers.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trust(peer) {
            if headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(FORWARDED) {
                self.warn(peer);
            }
            return peer;
        }
        let by_list = self.last_untrusted(peer, hops(headers, &X_FORWARDED_FOR, |hop| Some(hop)));
        let by_pairs = self.last_untrusted(peer, hops(headers, &FORWARDED, for_of_forwarded));
        match (by_list, by_pairs) {
            (Some(client), None) | (None, Some(client)) => client,
            (Some(client), Some(other)) if client == other => client,
            // A proxy writes one of the two and hands through what the client wrote into the other: which one is the
            // proxy's cannot be seen, so neither is believed.
            (Some(_), Some(_)) | (None, None) => peer,
        }
    }

    /// The right-most address that is not trusted; the left-most one if all are. A hop that is no address ends the walk
    /// at the proxy that reported it. `None` if there are no hops.
    fn last_untrusted(&self, peer: IpAddr, hops: Vec<Option<IpAddr>>) -> Option<IpAddr> {
        if hops.is_empty() {
            return None;
        }
        let mut client = peer;
        for hop in hops.into_iter().rev() {
            let Some(hop) = hop else { break };
            client = hop;
            if !self.trust(hop) {
                break;
            }
        }
        Some(client)
    }

    /// Says once in a while that a proxy seems to be there which is not trusted.
    fn warn(&self, peer: IpAddr) {
        metrics::counter!("jppd_http_forwarded_untrusted_total").increment(1);
        let now = Instant::now();
        let mut warned = self.warned.lock();
        if warned.is_some_and(|warned| now.duration_since(warned) < BETWEEN_WARNINGS) {
            return;
        }
        *warned = Some(now);
        tracing::warn!(
            %peer,
            "X-Forwarded-For arrived from a peer that http.trusted_proxies does not list: the header is ignored, and \
             all clients behind that peer share the limits of one; add the peer if it is your proxy"
        );
    }
}

/// The hops that all headers of a name list, left to right; `None` for a hop that is no address.
fn hops(
    headers: &HeaderMap,
    name: &HeaderName,
    address: impl Fn(&str) -> Option<&str>,
) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default());
    let hops = lines.flat_map(|line| line.split(','));
    hops.map(|hop| address(hop.trim()).and_then(parse)).collect()
}

/// The value of `for` in one element of `Forwarded` (RFC 7239).
fn for_of_forwarded(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })
}

/// An address as proxies write it: with or without a port, with or without brackets.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Peer, headers, and the client.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

    fn trusted() -> TrustedProxies {
        let networks = ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"];
        TrustedProxies::new(&networks.map(|network| network.parse().unwrap()))
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_right_most_address_that_is_not_trusted_is_the_client() {
        const LIST: &str = "x-forwarded-for";
        let table: &[Case<'_>] = &[
            // From a peer that is not trusted nothing counts.
            ("192.0.2.9", &[(LIST, "198.51.100.1")], "192.0.2.9"),
            ("192.0.2.9", &[("forwarded", "for=198.51.100.1")], "192.0.2.9"),
            ("192.0.2.9", &[], "192.0.2.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &[(LIST, "198.51.100.1")], "198.51.100.1"),
            ("::ffff:127.0.0.1", &[(LIST, "198.51.100.1")], "198.51.100.1"),
            ("127.0.0.1", &[(LIST, "198.51.100.1:4711")], "198.51.100.1"),
            ("127.0.0.1", &[(LIST, "2001:db8::1")], "2001:db8::1"),
            ("127.0.0.1", &[(LIST, "[2001:db8::1]:4711")], "2001:db8::1"),
            ("127.0.0.1", &[(LIST, "::ffff:198.51.100.1")], "198.51.100.1"),
            // The left part is the client's invention.
            ("127.0.0.1", &[(LIST, "203.0.113.7, 198.51.100.1")], "198.51.100.1"),
            ("127.0.0.1", &[(LIST, "203.0.113.7,198.51.100.1, 10.1.2.3 ,fd00::1")], "198.51.100.1"),
            (
                "127.0.0.1",
                &[(LIST, "203.0.113.7"), (LIST, "198.51.100.1"), (LIST, "10.1.2.3")],
                "198.51.100.1",
            ),
            ("127.0.0.1", &[(LIST, "10.0.0.1, 10.0.0.2")], "10.0.0.1"),
            // A hop without an address: the proxy that reported it counts.
            ("127.0.0.1", &[(LIST, "unknown")], "127.0.0.1"),
            ("127.0.0.1", &[(LIST, "198.51.100.1, unknown, 10.1.2.3")], "10.1.2.3"),
            ("127.0.0.1", &[(LIST, "")], "127.0.0.1"),
            ("127.0.0.1", &[("forwarded", "for=198.51.100.1;proto=https")], "198.51.100.1"),
            ("127.0.0.1", &[("forwarded", "by=10.0.0.1; For=\"[2001:db8::1]:4711\"")], "2001:db8::1"),
            (
                "127.0.0.1",
                &[("forwarded", "for=203.0.113.7, for=198.51.100.1, for=10.0.0.1")],
                "198.51.100.1",
            ),
            ("127.0.0.1", &[("forwarded", "for=_hidden")], "127.0.0.1"),
            ("127.0.0.1", &[("forwarded", "proto=https")], "127.0.0.1"),
            // Both headers: only where they agree.
            ("127.0.0.1", &[(LIST, "198.51.100.1"), ("forwarded", "for=198.51.100.1")], "198.51.100.1"),
            ("127.0.0.1", &[(LIST, "198.51.100.1"), ("forwarded", "for=203.0.113.7")], "127.0.0.1"),
        ];
        for (peer, pairs, client) in table {
            let found = trusted().client(peer.parse().unwrap(), &headers(pairs));
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {pairs:?}");
        }
    }

    #[test]
    fn one_warning_in_ten_minutes() {
        let trusted = trusted();
        let forged = headers(&[("x-forwarded-for", "198.51.100.1")]);
        trusted.client("127.0.0.1".parse().unwrap(), &forged);
        assert_eq!(*trusted.warned.lock(), None);
        trusted.client("192.0.2.9".parse().unwrap(), &forged);
        let first = *trusted.warned.lock();
        assert!(first.is_some());
        trusted.client("192.0.2.9".parse().unwrap(), &forged);
        assert_eq!(*trusted.warned.lock(), first);
    }

    proptest! {
        /// Whatever a client writes in front of it, the address that the proxy appended counts.
        #[test]
        fn an_invention_changes_nothing(invention in "[ -~]{0,60}", client in any::<[u8; 4]>()) {
            let client = IpAddr::from(client);
            prop_assume!(!trusted().trust(client));
            let headers = headers(&[("x-forwarded-for", &format!("{invention}, {client}"))]);
            prop_assert_eq!(trusted().client("127.0.0.1".parse().unwrap(), &headers), client);
        }
    }
}

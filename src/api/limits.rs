//! Limits on requests and sockets: of one client, and of all clients together.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::connections::Holder;

/// How many clients are remembered, at about a hundred bytes each.
const MOST_CLIENTS: usize = 65_536;

/// Sockets of one API key, unless a client without a key may have more: a shop holds one for each open invoice.
const MOST_SOCKETS_OF_A_KEY: usize = 2000;

const MINUTE: Duration = Duration::from_secs(60);

/// The network end of a subscriber: an IPv4 address as it is, an IPv6 address by its network of 64 bits, since that is what
/// one subscriber has.
pub(super) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// How often each client may ask for something: so many times at once, and as many again in each minute. A request that
/// costs more than others can count as several.
#[derive(Debug)]
pub(super) struct Rate {
    /// From one request to the next at the steady rate; `None` for no limit.
    interval: Option<Duration>,
    /// How many times a minute.
    times: u32,
    /// By client, when all that it has taken will be paid off. A client that has is like one that is not there.
    debts: Mutex<Debts>,
}

#[derive(Debug, Default)]
struct Debts {
    until: HashMap<Holder, Instant>,
    swept: Option<Instant>,
}

impl Rate {
    /// So many times a minute; 0 for no limit.
    pub(super) fn per_minute(times: u32) -> Self {
        Self { interval: MINUTE.checked_div(times), times, debts: Mutex::default() }
    }

    /// Takes a request of a client that counts as `weight` requests, and as a minute's worth at most.
    ///
    /// # Errors
    ///
    /// How long the client has to wait until it may send it.
    pub(super) fn take(&self, client: Holder, weight: u32, now: Instant) -> Result<(), Duration> {
        let Some(interval) = self.interval else { return Ok(()) };
        let mut debts = self.debts.lock();
        let paid_off = debts.until.get(&client).copied().unwrap_or(now).max(now);
        let after = paid_off + interval * weight.min(self.times);
        if let Some(wait) = after.duration_since(now).checked_sub(MINUTE)
            && !wait.is_zero()
        {
            return Err(wait);
        }
        if debts.until.len() < MOST_CLIENTS || debts.until.contains_key(&client) || debts.sweep(now) {
            debts.until.insert(client, after);
        } else {
            // So many clients at once that a limit on each of them holds nobody back.
            metrics::counter!("jppd_http_addresses_forgotten_total").increment(1);
        }
        Ok(())
    }
}

impl Debts {
    /// Forgets those who have paid off, once a second at most; whether there is room now.
    fn sweep(&mut self, now: Instant) -> bool {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= Duration::from_secs(1)) {
            self.swept = Some(now);
            self.until.retain(|_, until| *until > now);
        }
        self.until.len() < MOST_CLIENTS
    }
}

/// Counts sockets. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Sockets {
    most: usize,
    most_of_one: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_holder: HashMap<Holder, usize>,
}

/// Why there is no further socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSocket {
    /// There are as many as there can be.
    Full,
    /// This client has as many as it can have.
    TooManyOfOne,
}

/// One socket's place; dropped, it is free again.
#[derive(Debug)]
pub(super) struct SocketPlace {
    sockets: Sockets,
    holder: Holder,
}

impl Sockets {
    /// At most so many, and at most so many of one client (0 for no limit).
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, open: Arc::default() }
    }

    /// A place for a socket of a client, or of the holder of a key.
    ///
    /// # Errors
    ///
    /// [`NoSocket`].
    pub(super) fn place(&self, holder: Holder) -> Result<SocketPlace, NoSocket> {
        let most_of_one = match holder {
            Holder::Key(_) if self.most_of_one > 0 => self.most_of_one.max(MOST_SOCKETS_OF_A_KEY),
            Holder::Key(_) | Holder::Client(_) | Holder::Proxy => self.most_of_one,
        };
        let mut open = self.open.lock();
        if open.all >= self.most {
            return Err(NoSocket::Full);
        }
        let of_one = open.by_holder.get(&holder).copied().unwrap_or_default();
        if most_of_one > 0 && of_one >= most_of_one {
            return Err(NoSocket::TooManyOfOne);
        }
        open.by_holder.insert(holder, of_one + 1);
        open.all += 1;
        metrics::gauge!("jppd_sockets").increment(1);
        Ok(SocketPlace { sockets: self.clone(), holder })
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        let mut open = self.sockets.open.lock();
        open.all = open.all.saturating_sub(1);
        if let Some(of_one) = open.by_holder.get_mut(&self.holder) {
            *of_one = of_one.saturating_sub(1);
            if *of_one == 0 {
                open.by_holder.remove(&self.holder);
            }
        }
        metrics::gauge!("jppd_sockets").decrement(1);
    }
}

/// The whole seconds of a wait, rounded up, as `Retry-After` has them.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Holder {
        Holder::Client(subscriber(address.parse().unwrap()))
    }

    #[test]
    fn a_minute_s_worth_at_once_and_then_one_by_one() {
        let rate = Rate::per_minute(60);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(client);
        let start = Instant::now();
        for _ in 0..60 {
            assert_eq!(rate.take(one, 1, start), Ok(()));
        }
        assert_eq!(rate.take(one, 1, start), Err(Duration::from_secs(1)));
        assert_eq!(rate.take(other, 1, start), Ok(()));
        let later = start + Duration::from_millis(1500);
        assert_eq!(rate.take(one, 1, later), Ok(()));
        assert_eq!(rate.take(one, 1, later), Err(Duration::from_millis(500)));
        for _ in 0..1000 {
            assert_eq!(Rate::per_minute(0).take(one, 1, start), Ok(()));
        }
    }

    #[test]
    fn a_heavy_request_counts_as_several() {
        let rate = Rate::per_minute(60);
        let start = Instant::now();
        let one = client("192.0.2.1");
        assert_eq!(rate.take(one, 50, start), Ok(()));
        assert_eq!(rate.take(one, 11, start), Err(Duration::from_secs(1)));
        assert_eq!(rate.take(one, 10, start), Ok(()));
        // However heavy it is, a client that has waited long enough may send it.
        assert_eq!(rate.take(client("192.0.2.2"), 1000, start), Ok(()));
        assert_eq!(rate.take(client("192.0.2.2"), 1, start), Err(Duration::from_secs(1)));
    }

    #[test]
    fn memory_is_bounded_and_those_who_paid_off_are_forgotten() {
        let rate = Rate::per_minute(60);
        let start = Instant::now();
        let client = |number: u32| Holder::Client(IpAddr::V4(number.into()));
        for number in 0..70_000 {
            assert_eq!(rate.take(client(number), 1, start), Ok(()));
        }
        assert_eq!(rate.debts.lock().until.len(), MOST_CLIENTS);
        let later = start + Duration::from_secs(2);
        assert_eq!(rate.take(client(100_000), 1, later), Ok(()));
        assert_eq!(rate.debts.lock().until.len(), 1);
    }

    #[test]
    fn one_subscriber_is_one_address() {
        let table = [
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:ffff::1", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ];
        for (one, other, same) in table {
            let [one, other] = [one, other].map(|text| subscriber(text.parse().unwrap()));
            assert_eq!(one == other, same, "{one} {other}");
        }
    }

    #[test]
    fn places_come_back() {
        let sockets = Sockets::new(3, 2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(client);
        let places = [sockets.place(one).unwrap(), sockets.place(one).unwrap()];
        assert_eq!(sockets.place(one).unwrap_err(), NoSocket::TooManyOfOne);
        let third = sockets.place(other).unwrap();
        assert_eq!(sockets.place(other).unwrap_err(), NoSocket::Full);
        drop(places);
        drop(third);
        let open = sockets.open.lock();
        assert_eq!((open.all, open.by_holder.len()), (0, 0));
        drop(open);
        let shop = Sockets::new(5000, 2);
        let key = Holder::Key([7; 32]);
        let _of_key: Vec<_> = (0..MOST_SOCKETS_OF_A_KEY).map(|_| shop.place(key).unwrap()).collect();
        assert_eq!(shop.place(key).unwrap_err(), NoSocket::TooManyOfOne);
        assert!(shop.place(one).is_ok());
        let unlimited = Sockets::new(100, 0);
        let _places: Vec<_> = (0..100).map(|_| unlimited.place(one).unwrap()).collect();
    }
}

//! What one address, and all of them together, may take.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// How many addresses are remembered, at about fifty bytes each.
const MOST_ADDRESSES: usize = 65_536;

const MINUTE: Duration = Duration::from_secs(60);

/// Whom an address stands for: an IPv4 address as it is, an IPv6 address by its network of 64 bits, since that is what
/// one subscriber has.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// How often each address may ask for something: so many times at once, and as many again in each minute.
#[derive(Debug)]
pub(super) struct Rate {
    /// From one request to the next at the steady rate; `None` for no limit.
    interval: Option<Duration>,
    /// By address, when all that it has taken will be paid off. An address that has is like one that is not there.
    debts: Mutex<Debts>,
}

#[derive(Debug, Default)]
struct Debts {
    until: HashMap<IpAddr, Instant>,
    swept: Option<Instant>,
}

impl Rate {
    /// So many times a minute; 0 for no limit.
    pub(super) fn per_minute(times: u32) -> Self {
        Self { interval: MINUTE.checked_div(times), debts: Mutex::default() }
    }

    /// Takes one request of an address.
    ///
    /// # Errors
    ///
    /// How long it has to wait for its next.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(interval) = self.interval else { return Ok(()) };
        let address = subscriber(address);
        let mut debts = self.debts.lock();
        let paid_off = debts.until.get(&address).copied().unwrap_or(now).max(now);
        let after = paid_off + interval;
        if let Some(wait) = after.duration_since(now).checked_sub(MINUTE)
            && !wait.is_zero()
        {
            return Err(wait);
        }
        if debts.until.len() < MOST_ADDRESSES || debts.until.contains_key(&address) || debts.sweep(now) {
            debts.until.insert(address, after);
        } else {
            // So many addresses at once that a limit on each of them holds nobody back.
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
        self.until.len() < MOST_ADDRESSES
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
    by_address: HashMap<IpAddr, usize>,
}

/// Why there is no further socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSocket {
    /// There are as many as there can be.
    Full,
    /// This address has as many as it can have.
    TooManyOfOne,
}

/// One socket's place; dropped, it is free again.
#[derive(Debug)]
pub(super) struct SocketPlace {
    sockets: Sockets,
    address: IpAddr,
}

impl Sockets {
    /// At most so many, and at most so many from one address (0 for no limit).
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, open: Arc::default() }
    }

    /// A place for a socket from an address.
    ///
    /// # Errors
    ///
    /// [`NoSocket`].
    pub(super) fn place(&self, address: IpAddr) -> Result<SocketPlace, NoSocket> {
        let address = subscriber(address);
        let mut open = self.open.lock();
        if open.all >= self.most {
            return Err(NoSocket::Full);
        }
        let of_one = open.by_address.get(&address).copied().unwrap_or_default();
        if self.most_of_one > 0 && of_one >= self.most_of_one {
            return Err(NoSocket::TooManyOfOne);
        }
        open.by_address.insert(address, of_one + 1);
        open.all += 1;
        metrics::gauge!("jppd_sockets").increment(1);
        Ok(SocketPlace { sockets: self.clone(), address })
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        let mut open = self.sockets.open.lock();
        open.all = open.all.saturating_sub(1);
        if let Some(of_one) = open.by_address.get_mut(&self.address) {
            *of_one = of_one.saturating_sub(1);
            if *of_one == 0 {
                open.by_address.remove(&self.address);
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

    #[test]
    fn a_minute_s_worth_at_once_and_then_one_by_one() {
        let rate = Rate::per_minute(60);
        let [one, other]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let start = Instant::now();
        for _ in 0..60 {
            assert_eq!(rate.take(one, start), Ok(()));
        }
        assert_eq!(rate.take(one, start), Err(Duration::from_secs(1)));
        assert_eq!(rate.take(other, start), Ok(()));
        let later = start + Duration::from_millis(1500);
        assert_eq!(rate.take(one, later), Ok(()));
        assert_eq!(rate.take(one, later), Err(Duration::from_millis(500)));
        for _ in 0..1000 {
            assert_eq!(Rate::per_minute(0).take(one, start), Ok(()));
        }
    }

    #[test]
    fn memory_is_bounded_and_those_who_paid_off_are_forgotten() {
        let rate = Rate::per_minute(60);
        let start = Instant::now();
        let address = |number: u32| IpAddr::V4(number.into());
        for number in 0..70_000 {
            assert_eq!(rate.take(address(number), start), Ok(()));
        }
        assert_eq!(rate.debts.lock().until.len(), MOST_ADDRESSES);
        let later = start + Duration::from_secs(2);
        assert_eq!(rate.take(address(100_000), later), Ok(()));
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
        let [one, other]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let places = [sockets.place(one).unwrap(), sockets.place(one).unwrap()];
        assert_eq!(sockets.place(one).unwrap_err(), NoSocket::TooManyOfOne);
        let third = sockets.place(other).unwrap();
        assert_eq!(sockets.place(other).unwrap_err(), NoSocket::Full);
        drop(places);
        drop(third);
        let open = sockets.open.lock();
        assert_eq!((open.all, open.by_address.len()), (0, 0));
        drop(open);
        let unlimited = Sockets::new(100, 0);
        let _places: Vec<_> = (0..100).map(|_| unlimited.place(one).unwrap()).collect();
    }
}

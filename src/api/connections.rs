//! Limits on connections, and the choice of the connection that is closed when a limit is reached.
//!
//! A connection costs a file descriptor and some memory whether or not a request ever comes on it, so a client could
//! shut everybody else out by opening many. Connections are therefore counted, all together and by [`Holder`]. When a
//! count is full, a new connection takes the place of another one: first of the oldest that never had a request
//! answered although it had its time, then of the one that rests the longest, and last of the oldest that is still new:
//! else each newcomer would push out the one before it. A request whose body has arrived is never interrupted.
//!
//! A connection that became a WebSocket leaves the count: `limits.max_sockets` counts it from then on.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

use super::auth::KeyDigest;

/// Connections of one API key, unless a client without a key may have more. A shop's servers hold many.
pub(super) const MOST_OF_A_KEY: usize = 1000;

/// Proxy, client or API key whose limit a connection counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    /// A trusted proxy between two requests: such connections have no limit of their own.
    Proxy,
    /// A client, by [`subscriber`](super::limits::subscriber) address.
    Client(IpAddr),
    /// The holder of a valid API key.
    Key(KeyDigest),
}

/// Why a connection has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All places are taken by requests that are being answered.
    Full,
    /// All places of this holder are.
    FullForHolder,
}

/// Counts connections. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    most: usize,
    most_of_client: usize,
    /// How long a connection without an answer counts as new.
    youth: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// Number of the last event.
    events: u64,
    entries: HashMap<u64, Entry>,
    closable: BTreeSet<Rank>,
    holders: HashMap<Holder, Held>,
}

#[derive(Debug, Default)]
struct Held {
    connections: usize,
    closable: BTreeSet<Rank>,
}

#[derive(Debug)]
struct Entry {
    holder: Holder,
    rank: Rank,
    began: Instant,
    close: Arc<Notify>,
}

/// The order in which connections are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Whether a request was answered on it.
    answered: bool,
    /// The event of its last answer, or of its beginning.
    since: u64,
    id: u64,
}

/// The place of one connection; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    connections: Connections,
    close: Arc<Notify>,
}

impl Connections {
    /// At most `most` connections, and at most `most_of_client` of one client (0 for no limit). A connection is new for
    /// `youth`.
    pub(super) fn new(most: usize, most_of_client: usize, youth: Duration) -> Self {
        Self { most, most_of_client, youth, shared: Arc::default() }
    }

    /// A place for a new connection, if need be that of another one.
    ///
    /// # Errors
    ///
    /// [`NoPlace`], where no other connection may be closed for it.
    pub(super) fn enter(&self, holder: Holder) -> Result<Place, NoPlace> {
        let mut table = self.shared.table.lock();
        table.make_room_for(holder, self.most_of(holder), None, self.youth)?;
        if table.entries.len() >= self.most {
            let first = table.first_of(&table.closable, None, self.youth).ok_or(NoPlace::Full)?;
            table.close(first, "full");
        }
        let id = table.next_event();
        let rank = Rank { answered: false, since: id, id };
        let close = Arc::new(Notify::new());
        table.entries.insert(id, Entry { holder, rank, began: Instant::now(), close: close.clone() });
        table.count(holder);
        table.may_close(holder, rank);
        Ok(Place { id, connections: self.clone(), close })
    }

    /// Ends after the next change that can free a place. Make it before [`Connections::enter`] is tried.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.shared.changed.notified()
    }

    /// How many connections a holder may have; 0 for no limit.
    fn most_of(&self, holder: Holder) -> usize {
        match holder {
            Holder::Client(_) => self.most_of_client,
            Holder::Key(_) if self.most_of_client > 0 => self.most_of_client.max(MOST_OF_A_KEY),
            Holder::Key(_) | Holder::Proxy => 0,
        }
    }
}

impl Table {
    fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Sees to it that a holder can have one connection more, other than `but`.
    fn make_room_for(
        &mut self,
        holder: Holder,
        most: usize,
        but: Option<u64>,
        youth: Duration,
    ) -> Result<(), NoPlace> {
        let Some(held) = self.holders.get(&holder) else { return Ok(()) };
        if most == 0 || held.connections < most {
            return Ok(());
        }
        let first = self.first_of(&held.closable, but, youth);
        self.close(first.ok_or(NoPlace::FullForHolder)?, "client");
        Ok(())
    }

    /// The connection that is closed first, other than `but`.
    fn first_of(&self, closable: &BTreeSet<Rank>, but: Option<u64>, youth: Duration) -> Option<Rank> {
        let first = closable.iter().find(|rank| Some(rank.id) != but)?;
        let is_new = self.entries.get(&first.id).is_some_and(|entry| entry.began.elapsed() < youth);
        if first.answered || !is_new {
            return Some(*first);
        }
        let resting = Rank { answered: true, since: 0, id: 0 };
        let resting = closable.range(resting..).find(|rank| Some(rank.id) != but);
        Some(*resting.unwrap_or(first))
    }

    fn count(&mut self, holder: Holder) {
        self.holders.entry(holder).or_default().connections += 1;
    }

    fn uncount(&mut self, holder: Holder) {
        if let Some(held) = self.holders.get_mut(&holder) {
            held.connections = held.connections.saturating_sub(1);
            if held.connections == 0 {
                self.holders.remove(&holder);
            }
        }
    }

    fn may_close(&mut self, holder: Holder, rank: Rank) {
        self.closable.insert(rank);
        if let Some(held) = self.holders.get_mut(&holder) {
            held.closable.insert(rank);
        }
    }

    fn must_stay(&mut self, holder: Holder, rank: Rank) -> bool {
        if let Some(held) = self.holders.get_mut(&holder) {
            held.closable.remove(&rank);
        }
        self.closable.remove(&rank)
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.must_stay(entry.holder, entry.rank);
        self.uncount(entry.holder);
        Some(entry)
    }

    fn close(&mut self, rank: Rank, why: &'static str) {
        if let Some(entry) = self.remove(rank.id) {
            entry.close.notify_one();
            metrics::counter!("jppd_http_connections_closed_total", "why" => why).increment(1);
        }
    }
}

impl Place {
    /// Ends when the connection has to make room for another one.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    /// The connection counts for somebody else from now on.
    ///
    /// # Errors
    ///
    /// [`NoPlace::FullForHolder`]; it then counts as before.
    pub(super) fn belongs_to(&self, holder: Holder) -> Result<(), NoPlace> {
        let mut table = self.connections.shared.table.lock();
        let Some(entry) = table.entries.get(&self.id) else { return Ok(()) };
        let (before, rank) = (entry.holder, entry.rank);
        if before == holder {
            return Ok(());
        }
        table.make_room_for(
            holder,
            self.connections.most_of(holder),
            Some(self.id),
            self.connections.youth,
        )?;
        let closable = table.must_stay(before, rank);
        table.uncount(before);
        table.count(holder);
        if closable {
            table.may_close(holder, rank);
        }
        if let Some(entry) = table.entries.get_mut(&self.id) {
            entry.holder = holder;
        }
        Ok(())
    }

    /// The connection's request has arrived completely: until it is answered the connection is not closed.
    pub(super) fn works(&self) {
        let mut table = self.connections.shared.table.lock();
        if let Some(entry) = table.entries.get(&self.id) {
            let (holder, rank) = (entry.holder, entry.rank);
            table.must_stay(holder, rank);
        }
    }

    /// The connection's request is answered.
    pub(super) fn rests(&self) {
        let mut table = self.connections.shared.table.lock();
        let since = table.next_event();
        let Some(entry) = table.entries.get_mut(&self.id) else { return };
        let (holder, before) = (entry.holder, entry.rank);
        let rank = Rank { answered: true, since, id: self.id };
        entry.rank = rank;
        table.must_stay(holder, before);
        table.may_close(holder, rank);
        drop(table);
        self.connections.shared.changed.notify_one();
    }

    /// The connection has ended, or is none of HTTP any more.
    pub(super) fn leave(&self) {
        self.connections.shared.table.lock().remove(self.id);
        self.connections.shared.changed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    fn client(number: u8) -> Holder {
        Holder::Client(IpAddr::from([192, 0, 2, number]))
    }

    /// Indexes of the closed places.
    fn closed(places: &[Place]) -> Vec<usize> {
        let closed = places.iter().enumerate().filter(|(_, place)| place.closed().now_or_never().is_some());
        closed.map(|(index, _)| index).collect()
    }

    #[test]
    fn the_oldest_without_an_answer_goes_first_and_then_the_one_that_rests_longest() {
        let connections = Connections::new(4, 0, Duration::ZERO);
        let places: Vec<_> = (1..=4).map(|number| connections.enter(client(number)).unwrap()).collect();
        for index in [3, 1] {
            places[index].works();
            places[index].rests();
        }
        let mut later = Vec::new();
        for expected in [0, 2, 3, 1] {
            later.push(connections.enter(client(9)).unwrap());
            let newest = later.last().unwrap();
            newest.works();
            assert_eq!(closed(&places), [expected]);
        }
        assert_eq!(connections.enter(client(9)).unwrap_err(), NoPlace::Full);
        later[2].rests();
        let last = connections.enter(client(9)).unwrap();
        assert_eq!(closed(&later), [2]);
        drop((last, places, later));
        let table = connections.shared.table.lock();
        assert!(table.entries.is_empty() && table.closable.is_empty() && table.holders.is_empty());
    }

    /// Beside many connections that rest after an answer, newcomers must not push each other out before they are heard.
    #[test]
    fn a_new_connection_is_not_closed_before_one_that_rests() {
        let connections = Connections::new(3, 0, Duration::from_secs(3600));
        let resting: Vec<_> = (1..=3).map(|number| connections.enter(client(number)).unwrap()).collect();
        for place in &resting {
            place.works();
            place.rests();
        }
        let mut new = Vec::new();
        for expected in 0..3 {
            new.push(connections.enter(client(9)).unwrap());
            assert_eq!(closed(&resting), [expected]);
            assert_eq!(closed(&new), [0usize; 0]);
        }
        let _fourth = connections.enter(client(9)).unwrap();
        assert_eq!(closed(&new), [0]);
    }

    #[test]
    fn one_client_closes_its_own_connections_and_nobody_else_s() {
        let connections = Connections::new(100, 2, Duration::ZERO);
        let other = [connections.enter(client(2)).unwrap()];
        let places: Vec<_> = (0..5).map(|_| connections.enter(client(1)).unwrap()).collect();
        assert_eq!(closed(&places), [0, 1, 2]);
        for place in &places[3..] {
            place.works();
        }
        assert_eq!(connections.enter(client(1)).unwrap_err(), NoPlace::FullForHolder);
        assert_eq!(closed(&other), [0usize; 0]);
        // A socket is no connection of HTTP any more.
        places[3].leave();
        assert!(connections.enter(client(1)).is_ok());
    }

    #[test]
    fn keys_have_more_places_and_proxies_have_no_limit() {
        let connections = Connections::new(10_000, 2, Duration::ZERO);
        let key = Holder::Key([7; 32]);
        let places: Vec<_> = (0..=MOST_OF_A_KEY)
            .map(|_| {
                let place = connections.enter(client(1)).unwrap();
                place.belongs_to(key).unwrap();
                place
            })
            .collect();
        assert_eq!(closed(&places), [0]);
        let of_client: Vec<_> = (0..2).map(|_| connections.enter(client(1)).unwrap()).collect();
        assert_eq!(closed(&of_client), [0usize; 0]);
        let proxied: Vec<_> = (0..2000).map(|_| connections.enter(Holder::Proxy).unwrap()).collect();
        assert_eq!(closed(&proxied), [0usize; 0]);
        // Behind a proxy the client that is forwarded counts.
        for place in &proxied[..3] {
            place.belongs_to(client(3)).unwrap();
        }
        assert_eq!(closed(&proxied), [0]);
        proxied[1].works();
        proxied[2].works();
        assert_eq!(proxied[3].belongs_to(client(3)), Err(NoPlace::FullForHolder));
        proxied[1].belongs_to(Holder::Proxy).unwrap();
        assert_eq!(proxied[3].belongs_to(client(3)), Ok(()));
    }

    proptest! {
        /// Whatever happens, counts and orders agree with the entries, and no limit is passed.
        #[test]
        fn counts_agree(steps in proptest::collection::vec((0u8..6, 0usize..8, 0u8..3), 1..200)) {
            let connections = Connections::new(6, 3, Duration::from_nanos(200));
            let mut places: Vec<Place> = Vec::new();
            for (step, index, number) in steps {
                let place = places.get(index);
                match (step, place) {
                    (0 | 1, _) => places.extend(connections.enter(client(number))),
                    (2, Some(place)) => place.works(),
                    (3, Some(place)) => place.rests(),
                    (4, Some(place)) => { let _ = place.belongs_to(client(number)); }
                    (5, Some(_)) => { places.remove(index); }
                    (_, _) => {}
                }
                let table = connections.shared.table.lock();
                prop_assert!(table.entries.len() <= 6);
                let mut closable = BTreeSet::new();
                let mut counted = 0;
                for (holder, held) in &table.holders {
                    let own = table.entries.values().filter(|entry| entry.holder == *holder).count();
                    prop_assert_eq!(held.connections, own);
                    prop_assert!(own <= 3);
                    counted += own;
                    closable.extend(held.closable.iter().copied());
                }
                prop_assert_eq!(counted, table.entries.len());
                prop_assert_eq!(&closable, &table.closable);
            }
        }
    }
}

//! The places behind a door: few for those whom nobody knows yet, and a share of each for one address.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use zonescope_proto::limits::{
    MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS, MAX_HANDSHAKES, MAX_HANDSHAKES_PER_ADDRESS,
};

/// Whoever is behind one address can have any of its IPv6 network.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Who is there.
#[derive(Debug, Default)]
struct Guests {
    /// Whom nobody knows yet, the oldest first.
    waiting: VecDeque<(u64, IpAddr, Arc<Notify>)>,
    seated: HashMap<IpAddr, usize>,
}

/// The places of an endpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Hall(Arc<Mutex<Guests>>);

impl Hall {
    /// Each operation under it is whole: a panic elsewhere does not make it wrong.
    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that nobody knows yet. If there are too many the oldest gives way.
    pub(super) fn wait(&self, connection: u64, from: IpAddr) -> Waiting {
        let mut guests = self.guests();
        let neighbours = guests.waiting.iter().filter(|(_, address, _)| *address == from).count();
        let oldest = if neighbours >= MAX_HANDSHAKES_PER_ADDRESS {
            guests.waiting.iter().position(|(_, address, _)| *address == from)
        } else {
            (guests.waiting.len() >= MAX_HANDSHAKES).then_some(0)
        };
        if let Some((_, _, gives_way)) = oldest.and_then(|at| guests.waiting.remove(at)) {
            gives_way.notify_one();
        }
        let gives_way = Arc::new(Notify::new());
        guests.waiting.push_back((connection, from, Arc::clone(&gives_way)));
        Waiting { hall: self.clone(), connection, gives_way }
    }

    /// A seat for one that is known, if there is one.
    pub(super) fn seat(&self, from: IpAddr) -> Option<Seat> {
        let mut guests = self.guests();
        let all: usize = guests.seated.values().sum();
        let taken = guests.seated.entry(from).or_default();
        let free = all < MAX_CONNECTIONS && *taken < MAX_CONNECTIONS_PER_ADDRESS;
        // A full address has an entry; one that all the others leave no seat gets none.
        *taken += usize::from(free);
        if *taken == 0 {
            guests.seated.remove(&from);
        }
        free.then(|| Seat { hall: self.clone(), from })
    }
}

/// The place of one that nobody knows yet.
pub(super) struct Waiting {
    hall: Hall,
    connection: u64,
    pub(super) gives_way: Arc<Notify>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.hall.guests().waiting.retain(|(connection, _, _)| *connection != self.connection);
    }
}

/// The place of one that is known.
pub(super) struct Seat {
    hall: Hall,
    from: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut guests = self.hall.guests();
        if let Some(taken) = guests.seated.get_mut(&self.from) {
            *taken -= 1;
            if *taken == 0 {
                guests.seated.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: usize) -> IpAddr {
        IpAddr::from([10, 0, (n / 256) as u8, (n % 256) as u8])
    }

    #[test]
    fn seats_are_bounded_by_address_and_in_all_and_free_when_left() {
        let hall = Hall::default();
        let mut seats: Vec<_> = std::iter::from_fn(|| hall.seat(address(0))).collect();
        assert_eq!(seats.len(), MAX_CONNECTIONS_PER_ADDRESS);
        seats.extend((1..).map_while(|n| hall.seat(address(n))));
        assert_eq!(seats.len(), MAX_CONNECTIONS);
        seats.pop();
        assert!(hall.seat(address(7)).is_some());
        drop(seats);
        assert!(hall.guests().seated.is_empty());
    }

    #[tokio::test]
    async fn the_oldest_of_an_address_gives_way_and_then_the_oldest_of_all() {
        let hall = Hall::default();
        let crowd: Vec<_> = (0..MAX_HANDSHAKES_PER_ADDRESS as u64).map(|n| hall.wait(n, address(0))).collect();
        let one_more = hall.wait(1000, address(0));
        crowd[0].gives_way.notified().await;
        let others: Vec<_> = (1..).take(MAX_HANDSHAKES).map(|n| hall.wait(2000 + n as u64, address(n))).collect();
        crowd[1].gives_way.notified().await;
        one_more.gives_way.notified().await;
        assert_eq!(hall.guests().waiting.len(), MAX_HANDSHAKES);
        drop((crowd, one_more, others));
        assert!(hall.guests().waiting.is_empty());
    }

    #[test]
    fn neighbours_in_an_ipv6_network_are_one_address() {
        let [a, b, c] = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"].map(|a| network(a.parse().unwrap()));
        assert!(a == b && a != c);
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), network("192.0.2.1".parse().unwrap()));
    }
}

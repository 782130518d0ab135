//! Who is connected, and who has to make room: whoever only holds a connection closes nobody out.
//!
//! Where all places are taken, a new one gets that of whoever has been silent for longest; and from one address few are heard at a time, so that one machine
//! pushes out itself alone. This machine is no such address: a proxy stands there for everybody.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::oneshot;

/// How many are connected at once. The agent has other things to do with its open files.
const AT_ONCE: usize = 64;
/// How many of them from one address.
const OF_ONE: usize = 8;

/// All who are connected, the oldest first.
#[derive(Default)]
pub(super) struct Guests {
    next: u64,
    there: BTreeMap<u64, Guest>,
}

struct Guest {
    from: IpAddr,
    asked: Arc<AtomicBool>,
    /// Dropped, it tells him to go.
    _stays: oneshot::Sender<()>,
}

/// The place of one who is connected.
pub(super) struct Seat {
    pub(super) number: u64,
    /// Set once he has said what he wants: then he keeps his place until he has his answer.
    pub(super) asked: Arc<AtomicBool>,
    /// Ends when somebody else gets the place.
    pub(super) gone: oneshot::Receiver<()>,
}

impl Guests {
    /// Gives somebody a place; `None` where all who could make room are being answered.
    pub(super) fn admit(&mut self, from: IpAddr) -> Option<Seat> {
        let from = machine(from);
        let of_one = self.there.values().filter(|guest| guest.from == from).count();
        if of_one >= OF_ONE && !from.is_loopback() {
            self.make_room(|guest| guest.from == from)?;
        } else if self.there.len() >= AT_ONCE {
            self.make_room(|_| true)?;
        }
        let (stays, gone) = oneshot::channel();
        let asked = Arc::new(AtomicBool::new(false));
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.there.insert(number, Guest { from, asked: Arc::clone(&asked), _stays: stays });
        Some(Seat { number, asked, gone })
    }

    /// He has gone.
    pub(super) fn leave(&mut self, number: u64) {
        self.there.remove(&number);
    }

    /// Sends away the one of these who has been silent for longest.
    fn make_room(&mut self, of: impl Fn(&Guest) -> bool) -> Option<()> {
        let mut silent = self.there.iter().filter(|&(_, guest)| of(guest) && !guest.asked.load(Relaxed));
        let number = *silent.next()?.0;
        self.there.remove(&number).map(drop)
    }
}

/// Returns what stands for the machine behind an address: with IPv6 one has as many as it likes of the last 64 bits.
fn machine(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(long) if !long.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_gone(seat: &mut Seat) -> bool {
        matches!(seat.gone.try_recv(), Err(oneshot::error::TryRecvError::Closed))
    }

    #[test]
    fn whoever_only_holds_connections_makes_room_for_the_next() {
        let mut guests = Guests::default();
        let mut idle: Vec<Seat> = (0..AT_ONCE).map(|_| guests.admit(ip("127.0.0.1")).unwrap()).collect();
        // One who is being answered stays, however long he has been there.
        idle[0].asked.store(true, Relaxed);
        let _new = guests.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(guests.there.len(), AT_ONCE);
        assert!(!is_gone(&mut idle[0]) && is_gone(&mut idle[1]) && !is_gone(&mut idle[2]));
        guests.leave(idle[0].number);
        let _another = guests.admit(ip("192.0.2.1")).unwrap();
        assert!(!is_gone(&mut idle[2]));
    }

    #[test]
    fn one_machine_pushes_out_itself_alone() {
        let mut guests = Guests::default();
        let mut honest = guests.admit(ip("192.0.2.7")).unwrap();
        // A provider gives each customer 2⁶⁴ addresses and more.
        let mut many: Vec<Seat> =
            (0..200).map(|n| guests.admit(ip(&format!("2001:db8:1:2::{n:x}"))).unwrap()).collect();
        assert!(!is_gone(&mut honest));
        assert_eq!(many.iter_mut().filter_map(|seat| (!is_gone(seat)).then_some(())).count(), OF_ONE);
        assert_eq!(guests.there.len(), OF_ONE + 1);
        // Where all of its connections are being answered, it waits.
        many.iter().for_each(|seat| seat.asked.store(true, Relaxed));
        assert!(guests.admit(ip("2001:db8:1:2::ffff")).is_none());
        assert!(guests.admit(ip("2001:db8:1:3::1")).is_some());
    }
}

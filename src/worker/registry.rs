//! Cancel keys of all workers' sessions. They are the proxy's own: 31 random bits of process id and 32 of
//! secret, or 256 from protocol 3.2 on; and they find a session, never a server connection.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use subtle::ConstantTimeEq;

use super::orders::{Order, Orders};

/// Wrong keys that one address may send in [`WINDOW`]; after that its cancel requests are not looked at.
const MOST_WRONG: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered for wrong keys.
const MOST_GUESSERS: usize = 4096;

/// What became of a cancel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// Its session was told.
    Passed,
    /// Nobody has the key.
    Unknown,
    /// Its address has sent too many wrong keys.
    Ignored,
}

impl Cancelled {
    /// As a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Unknown => "unknown",
            Self::Ignored => "ignored",
        }
    }
}

/// Who has which key.
#[derive(Debug, Default)]
pub struct Registry {
    keys: Mutex<HashMap<i32, Holder>>,
    guessers: Mutex<HashMap<IpAddr, Guesser>>,
    workers: OnceLock<Vec<Orders>>,
}

/// Whom a process id was given to, and what proves it.
#[derive(Debug)]
struct Holder {
    secret: Box<[u8]>,
    worker: usize,
    session: u64,
}

impl Registry {
    /// The workers, once they run.
    pub fn set_workers(&self, workers: Vec<Orders>) {
        // Set once, by `run`.
        let _ = self.workers.set(workers);
    }

    /// A process id and a secret of so many bytes for a session of a worker.
    pub fn register(&self, worker: usize, session: u64, length: usize) -> (i32, Box<[u8]>) {
        let mut secret = vec![0; length].into_boxed_slice();
        rand::fill(&mut secret[..]);
        let mut keys = self.keys.lock();
        loop {
            let pid = rand::random_range(1..=i32::MAX);
            if let Entry::Vacant(vacant) = keys.entry(pid) {
                vacant.insert(Holder { secret: secret.clone(), worker, session });
                return (pid, secret);
            }
        }
    }

    /// The session has ended.
    pub fn forget(&self, pid: i32) {
        self.keys.lock().remove(&pid);
    }

    /// Tells the worker whose session has this key; nothing happens for a key that nobody has. How long the
    /// comparison takes tells nothing about the secret.
    pub fn cancel(&self, pid: i32, secret: &[u8], from: IpAddr) -> Cancelled {
        let now = Instant::now();
        if self.guessers.lock().get(&from).is_some_and(|guesser| guesser.is_banned(now)) {
            return Cancelled::Ignored;
        }
        let keys = self.keys.lock();
        let holder = keys.get(&pid).filter(|holder| bool::from(holder.secret.ct_eq(secret)));
        let found = holder.map(|holder| (holder.worker, holder.session));
        drop(keys);
        let Some((worker, session)) = found else {
            self.count_wrong(from, now);
            return Cancelled::Unknown;
        };
        if let Some(orders) = self.workers.get().and_then(|workers| workers.get(worker)) {
            orders.send(Order::Cancel(session));
        }
        Cancelled::Passed
    }

    fn count_wrong(&self, from: IpAddr, now: Instant) {
        let mut guessers = self.guessers.lock();
        if guessers.len() >= MOST_GUESSERS && !guessers.contains_key(&from) {
            guessers.retain(|_, guesser| guesser.is_recent(now));
            if guessers.len() >= MOST_GUESSERS {
                guessers.clear();
            }
        }
        let guesser = guessers.entry(from).or_insert(Guesser { wrong: 0, since: now });
        if !guesser.is_recent(now) {
            *guesser = Guesser { wrong: 0, since: now };
        }
        guesser.wrong = guesser.wrong.saturating_add(1);
    }
}

/// An address that sends keys that nobody has.
#[derive(Debug, Clone, Copy)]
struct Guesser {
    wrong: u32,
    since: Instant,
}

impl Guesser {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < WINDOW
    }

    fn is_banned(&self, now: Instant) -> bool {
        self.wrong >= MOST_WRONG && self.is_recent(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_with_too_many_wrong_keys_is_not_listened_to() {
        let registry = Registry::default();
        let (guesser, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let (pid, secret) = registry.register(0, 7, 32);
        for wrong in 0..MOST_WRONG {
            let mut guess = secret.clone();
            guess[wrong as usize] ^= 1;
            assert_eq!(registry.cancel(pid, &guess, guesser), Cancelled::Unknown);
        }
        assert_eq!(registry.cancel(pid, &secret, guesser), Cancelled::Ignored);
        assert_eq!(registry.cancel(pid, &secret[..31], other), Cancelled::Unknown);
        assert_eq!(registry.cancel(pid, &secret, other), Cancelled::Passed);
        registry.forget(pid);
        assert_eq!(registry.cancel(pid, &secret, other), Cancelled::Unknown);
    }

    #[test]
    fn guessers_are_forgotten_before_they_fill_the_memory() {
        let registry = Registry::default();
        for number in 0..3 * MOST_GUESSERS {
            registry.cancel(1, &[1; 4], IpAddr::from((number as u32).to_be_bytes()));
        }
        assert!(registry.guessers.lock().len() <= MOST_GUESSERS);
    }

    #[test]
    fn keys_do_not_repeat_or_follow_each_other() {
        let registry = Registry::default();
        let keys = (0..1000).map(|session| {
            let (pid, secret) = registry.register(0, session, 4);
            (pid, u32::from_be_bytes(secret[..].try_into().unwrap()))
        });
        let keys: Vec<(i32, u32)> = keys.collect();
        let near = keys
            .windows(2)
            .filter(|pair| pair[0].0.abs_diff(pair[1].0) < 1000 || pair[0].1.abs_diff(pair[1].1) < 1000);
        assert!(near.count() < 10);
    }
}

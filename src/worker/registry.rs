//! Cancel keys of all workers' sessions. They are the proxy's own: 31 random bits of process id and 32 of
//! secret, and they find a session, never a server connection.

use std::collections::HashMap;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::orders::{Order, Orders};

/// Process id and secret as the client was told.
pub type Key = (i32, i32);

/// Who has which key.
#[derive(Debug, Default)]
pub struct Registry {
    keys: Mutex<HashMap<Key, (usize, u64)>>,
    workers: OnceLock<Vec<Orders>>,
}

impl Registry {
    /// The workers, once they run.
    pub fn set_workers(&self, workers: Vec<Orders>) {
        // Set once, by `run`.
        let _ = self.workers.set(workers);
    }

    /// A key for a session of a worker.
    pub fn register(&self, worker: usize, session: u64) -> Key {
        let mut keys = self.keys.lock();
        loop {
            let key = (rand::random_range(1..=i32::MAX), rand::random());
            if let std::collections::hash_map::Entry::Vacant(vacant) = keys.entry(key) {
                vacant.insert((worker, session));
                return key;
            }
        }
    }

    /// The session has ended.
    pub fn forget(&self, key: Key) {
        self.keys.lock().remove(&key);
    }

    /// Tells the worker whose session has this key; nothing happens for a key that nobody has.
    pub fn cancel(&self, key: Key) {
        let found = self.keys.lock().get(&key).copied();
        if let Some((worker, session)) = found
            && let Some(orders) = self.workers.get().and_then(|workers| workers.get(worker))
        {
            orders.send(Order::Cancel(session));
        }
    }
}

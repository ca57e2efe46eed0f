//! Places for what stays open: connections, event streams, waiting requests. So many for all, and so many for one client, so that one cannot
//! take them all.

use crate::client::ClientIp;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one kind.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    each: usize,
    taken: Mutex<HashMap<ClientIp, usize>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    client: ClientIp,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    /// `all` places, of which one client gets at most `each`.
    pub(crate) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(all)), each, taken: Mutex::default() })
    }

    /// A place for the client, if there is one now.
    pub(crate) fn take(self: &Arc<Self>, client: ClientIp) -> Option<Place> {
        let of_all = Arc::clone(&self.free).try_acquire_owned().ok()?;
        self.give(client, of_all)
    }

    /// Waits for a free place, whoever will get it.
    pub(crate) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Gives the client this free place, unless it has its share.
    pub(crate) fn give(self: &Arc<Self>, client: ClientIp, of_all: OwnedSemaphorePermit) -> Option<Place> {
        let mut taken = self.taken();
        let own = taken.entry(client).or_default();
        if *own >= self.each {
            return None;
        }
        *own += 1;
        Some(Place { places: Arc::clone(self), client, _of_all: of_all })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<ClientIp, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut own) = self.places.taken().entry(self.client) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn one_client_gets_its_share_and_leaves_the_rest() {
        let places = Places::new(3, 2);
        let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|ip| ClientIp::at(ip.parse().unwrap()));
        let first = places.take(a).unwrap();
        let _second = places.take(a).unwrap();
        assert!(places.take(a).is_none(), "its share is taken");
        let _third = places.take(b).unwrap();
        assert!(places.take(b).is_none(), "all are taken");
        drop(first);
        assert!(places.take(a).is_some(), "given back");
        assert_eq!(places.taken().len(), 2, "a client without a place is forgotten");
    }
}

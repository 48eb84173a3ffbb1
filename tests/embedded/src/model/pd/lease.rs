//! Leases: keys that live only as long as someone keeps them alive.
//!
//! etcd: `server/lease/lessor.go`.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::kv::{Keys, KvError};
use crate::model::clock::Now;

/// What keys live as long as.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) ttl: Duration,
    pub(super) expires: Now,
    pub(super) keys: BTreeSet<Bytes>,
}

impl Keys {
    /// Grants a lease of `ttl`; an id of 0 is chosen here. Returns the id.
    pub(super) fn grant(&mut self, now: Now, id: i64, ttl: Duration) -> Result<i64, KvError> {
        let id = if id == 0 {
            self.leases.keys().next_back().map_or(1, |last| last.saturating_add(1))
        } else {
            id
        };
        if self.leases.contains_key(&id) {
            return Err(KvError::LeaseExists);
        }
        self.leases.insert(id, Lease { ttl, expires: now.after(ttl), keys: BTreeSet::new() });
        Ok(id)
    }

    /// Ends a lease, and deletes its keys in one revision.
    pub(super) fn revoke(&mut self, id: i64) -> Result<(), KvError> {
        let lease = self.leases.remove(&id).ok_or(KvError::NoLease)?;
        self.write(lease.keys.into_iter().map(|key| (key, None)).collect());
        Ok(())
    }

    /// Gives a lease its whole time again; returns that time.
    pub(super) fn keep_alive(&mut self, now: Now, id: i64) -> Result<Duration, KvError> {
        let lease = self.leases.get_mut(&id).ok_or(KvError::NoLease)?;
        lease.expires = now.after(lease.ttl);
        Ok(lease.ttl)
    }

    /// When the next lease ends.
    pub(super) fn next_expiry(&self) -> Option<Now> {
        self.leases.values().map(|lease| lease.expires).min()
    }

    /// Ends the leases whose time is over, in the order in which they ended.
    pub(super) fn expire(&mut self, now: Now) {
        while let Some((_, id)) =
            self.leases.iter().map(|(id, lease)| (lease.expires, *id)).filter(|(at, _)| *at <= now).min()
        {
            if self.revoke(id).is_err() {
                // It has just been found, so this ends nothing but the loop.
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_with_their_lease() {
        let mut keys = Keys::default();
        let start = Now::from_unix(Duration::from_secs(5));
        let lease = keys.grant(start, 0, Duration::from_secs(2)).expect("a new lease");
        assert_eq!(keys.grant(start, lease, Duration::from_secs(2)), Err(KvError::LeaseExists));
        keys.put("a".into(), "1".into(), lease).expect("a lease");
        keys.put("b".into(), "2".into(), lease).expect("a lease");
        // Written again without the lease, it is free of it.
        keys.put("b".into(), "3".into(), 0).expect("a key");
        let later = start.after(Duration::from_secs(1));
        keys.keep_alive(later, lease).expect("it lives");
        keys.expire(start.after(Duration::from_secs(2)));
        assert!(keys.value(b"a").is_some(), "kept alive");
        assert_eq!(keys.next_expiry(), Some(later.after(Duration::from_secs(2))));
        keys.expire(later.after(Duration::from_secs(2)));
        assert_eq!((keys.value(b"a"), keys.value(b"b")), (None, Some("3".into())));
        assert_eq!(keys.put("c".into(), "4".into(), lease), Err(KvError::NoLease));
    }
}

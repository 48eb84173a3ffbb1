//! Values that hold keys, on their way into a keyspace and out of it.
//!
//! Applications speak of keys without prefix, everything below them of keys as the stores know them. The door between is where
//! an operation begins and ends: its arguments [`enter`](Placed::enter) the keyspace, its output [leaves](Placed::leave) it.
//! With API v1 there is no door.

use bytes::Bytes;

use super::Mode;
use super::keyspace::{KeyspaceError, Prefix};
use crate::types::{Instant, Key, KeyRange, KvPair, RegionId, Timestamp};

/// A value that may hold keys.
pub trait Placed {
    /// Whether a list leaves one out that is of another keyspace altogether, in place of an error: parts of a region that is
    /// shared by keyspaces are.
    const LEFT_OUT: bool = false;

    /// Its keys become those of the stores.
    fn enter(&mut self, keyspace: Prefix);

    /// Its keys become those of the keyspace's owner.
    ///
    /// # Errors
    /// [`KeyspaceError::Elsewhere`]: one is of another keyspace.
    fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError>;
}

impl Placed for Key {
    fn enter(&mut self, keyspace: Prefix) {
        *self = keyspace.encode_key(self.as_slice());
    }

    fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError> {
        *self = keyspace.decode_key(self)?;
        Ok(())
    }
}

impl Placed for KeyRange {
    const LEFT_OUT: bool = true;

    fn enter(&mut self, keyspace: Prefix) {
        *self = keyspace.encode_range(self);
    }

    fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError> {
        *self = keyspace.decode_range(self)?;
        Ok(())
    }
}

impl Placed for KvPair {
    fn enter(&mut self, keyspace: Prefix) {
        self.key.enter(keyspace);
    }

    fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError> {
        self.key.leave(keyspace)
    }
}

impl<T: Placed> Placed for Vec<T> {
    fn enter(&mut self, keyspace: Prefix) {
        self.iter_mut().for_each(|value| value.enter(keyspace));
    }

    fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError> {
        if T::LEFT_OUT {
            self.retain_mut(|value| value.leave(keyspace).is_ok());
            return Ok(());
        }
        self.iter_mut().try_for_each(|value| value.leave(keyspace))
    }
}

impl<T: Placed> Placed for Option<T> {
    fn enter(&mut self, keyspace: Prefix) {
        self.iter_mut().for_each(|value| value.enter(keyspace));
    }

    fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError> {
        self.iter_mut().try_for_each(|value| value.leave(keyspace))
    }
}

/// Values without keys.
macro_rules! keyless {
    ($($type:ty),* $(,)?) => {$(
        impl $crate::codec::Placed for $type {
            fn enter(&mut self, _: $crate::codec::Prefix) {}

            fn leave(&mut self, _: $crate::codec::Prefix) -> Result<(), $crate::codec::KeyspaceError> {
                Ok(())
            }
        }
    )*};
}
pub(crate) use keyless;

// Bytes are values and column families: a key has a type of its own.
keyless!(
    Bytes,
    String,
    std::borrow::Cow<'static, str>,
    (),
    bool,
    u32,
    u64,
    usize,
    Timestamp,
    Instant,
    RegionId,
    Mode
);

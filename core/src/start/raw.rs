//! Arguments of raw operations, and their machines.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Operation, Settings, Start};
use crate::codec::{KeyspaceError, Placed, Prefix};
use crate::raw::batch::BatchMachine;
use crate::raw::delete_range::DeleteRangeMachine;
use crate::raw::scan::ScanMachine;
use crate::raw::single::{DeleteMachine, GetMachine, PutMachine};
use crate::raw::{batches, scan};
use crate::types::{Key, KeyRange, KvPair};

/// Declares the arguments of an operation: its fields, and its machine. Each field says what of it enters a keyspace.
macro_rules! operation {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$field_doc:meta])* $visible:vis $field:ident: $type:ty,)* }
        $machine:ty = |$settings:ident| $make:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name { $($(#[$field_doc])* $visible $field: $type,)* }

        impl From<$name> for Start {
            fn from(operation: $name) -> Self {
                Self::$name(operation)
            }
        }

        impl Operation for $name {
            type Machine = $machine;

            fn machine(self, $settings: &Settings) -> $machine {
                let Self { $($field),* } = self;
                $make
            }
        }

        impl Placed for $name {
            fn enter(&mut self, keyspace: Prefix) {
                $(self.$field.enter(keyspace);)*
            }

            fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError> {
                $(self.$field.leave(keyspace)?;)*
                Ok(())
            }
        }
    };
}
pub(super) use operation;

operation! {
    /// Read the raw value of one key.
    RawGet {
        /// The key.
        pub key: Key,
        /// The column family; empty: the default one.
        pub cf: Cow<'static, str>,
    }
    GetMachine = |settings| GetMachine::new(key, &cf, settings.redact_keys)
}

operation! {
    /// Write the raw value of one key.
    RawPut {
        /// The key.
        pub key: Key,
        /// Its value.
        pub value: Bytes,
        /// The column family; empty: the default one.
        pub cf: Cow<'static, str>,
        /// How long it lives, in seconds; 0: for ever.
        pub ttl_s: u64,
        /// Takes turns with compare-and-swap.
        pub for_cas: bool,
    }
    PutMachine = |settings| PutMachine::new(key, value, &cf, ttl_s, for_cas, settings.redact_keys)
}

operation! {
    /// Delete one raw key.
    RawDelete {
        /// The key.
        pub key: Key,
        /// The column family; empty: the default one.
        pub cf: Cow<'static, str>,
        /// Takes turns with compare-and-swap.
        pub for_cas: bool,
    }
    DeleteMachine = |settings| DeleteMachine::new(key, &cf, for_cas, settings.redact_keys)
}

operation! {
    /// Read many raw values.
    RawBatchGet {
        /// The keys, in the order of the answer.
        pub keys: Vec<Key>,
        /// The column family; empty: the default one.
        pub cf: Cow<'static, str>,
    }
    BatchMachine<batches::BatchGet> = |settings| {
        let (batch, keys) = batches::BatchGet::new(keys, cf, settings.redact_keys);
        BatchMachine::new(batch, keys, settings.concurrency)
    }
}

operation! {
    /// Write many raw values.
    RawBatchPut {
        /// What is written; of two pairs with one key the last counts.
        pub pairs: Vec<KvPair>,
        /// The column family; empty: the default one.
        pub cf: Cow<'static, str>,
        /// How long the entries live, in seconds; 0: for ever.
        pub ttl_s: u64,
        /// Takes turns with compare-and-swap.
        pub for_cas: bool,
    }
    BatchMachine<batches::BatchPut> = |settings| {
        let (batch, pairs) = batches::BatchPut::new(pairs, cf, ttl_s, for_cas);
        BatchMachine::new(batch, pairs, settings.concurrency)
    }
}

operation! {
    /// Delete many raw keys.
    RawBatchDelete {
        /// The keys.
        pub keys: Vec<Key>,
        /// The column family; empty: the default one.
        pub cf: Cow<'static, str>,
        /// Takes turns with compare-and-swap.
        pub for_cas: bool,
    }
    BatchMachine<batches::BatchDelete> = |settings| {
        let (batch, keys) = batches::BatchDelete::new(keys, cf, for_cas);
        BatchMachine::new(batch, keys, settings.concurrency)
    }
}

operation! {
    /// Read a range of raw keys.
    RawScan {
        /// The keys.
        pub range: KeyRange,
        /// Pairs at the most.
        pub limit: usize,
        /// From the last key down.
        pub reverse: bool,
        /// Values stay empty.
        pub keys_only: bool,
        /// The column family; empty: the default one.
        pub cf: Cow<'static, str>,
    }
    ScanMachine = |settings| {
        let redacted = settings.redact_keys;
        ScanMachine::new(scan::Scan { range, limit, reverse, keys_only, cf, redacted })
    }
}

operation! {
    /// Delete a range of raw keys.
    RawDeleteRange {
        /// The keys.
        pub range: KeyRange,
        /// The column family; empty: the default one.
        pub cf: Cow<'static, str>,
    }
    DeleteRangeMachine = |_settings| DeleteRangeMachine::new(range, cf)
}

//! The sans-IO core of a TiKV client.

pub mod backoff;
pub mod codec;
pub mod machine;
pub mod types;

//! Bad input and clusters that fail: each gives a typed error with the address or the key in its text, within its
//! deadline; nothing hangs or panics.
//!
//! `connect`: PD lists that cannot work; `input`: what cannot be sent; `outage`: servers that stop answering under a client.

mod connect;
mod input;
mod outage;

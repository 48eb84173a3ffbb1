//! Timestamps: one stream to PD's leader for the whole client.
//!
//! [`service`] is the machine: it asks for as many timestamps as callers wait, in one request, and hands them out. [`grant`]
//! reads what PD granted and is where a timestamp that falls back, or that nobody asked for, is refused.

pub mod grant;
pub mod service;
#[cfg(test)]
mod tests;

pub use service::{TsoBatcher, TsoCommand, TsoConfig, TsoTimer};

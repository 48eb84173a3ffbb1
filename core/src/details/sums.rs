//! What the client adds up over the requests of calls.

use std::fmt::{self, Display};
use std::time::Duration;

use super::format::{bytes_text, duration_text};
use super::store::StoreDetails;

/// Bytes of messages, as they are encoded and before any compression.
///
/// client-go: `util/execdetails.go: TrafficDetails`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrafficDetails {
    /// Bytes sent to TiKV.
    pub sent: u64,
    /// Bytes received from TiKV.
    pub received: u64,
    /// Of those sent, the bytes that went into another zone.
    pub sent_cross_zone: u64,
    /// Of those received, the bytes that came from another zone.
    pub received_cross_zone: u64,
    /// Bytes sent to TiFlash.
    pub tiflash_sent: u64,
    /// Bytes received from TiFlash.
    pub tiflash_received: u64,
    /// Of those, into another zone.
    pub tiflash_sent_cross_zone: u64,
    /// Of those, from another zone.
    pub tiflash_received_cross_zone: u64,
}

impl TrafficDetails {
    /// Adds `other`.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.sent_cross_zone += other.sent_cross_zone;
        self.received_cross_zone += other.received_cross_zone;
        self.tiflash_sent += other.tiflash_sent;
        self.tiflash_received += other.tiflash_received;
        self.tiflash_sent_cross_zone += other.tiflash_sent_cross_zone;
        self.tiflash_received_cross_zone += other.tiflash_received_cross_zone;
    }
}

/// What calls cost, as the client saw it.
///
/// client-go: `util/execdetails.go: ExecDetails`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecDetails {
    /// Calls that ended.
    pub calls: u64,
    /// Of those, the ones that ended with an error.
    pub failed: u64,
    /// From the begin of each call to its end, added up.
    pub time: Duration,
    /// Requests sent to stores.
    pub requests: u64,
    /// Pauses between attempts.
    pub pauses: u64,
    /// Time of these pauses.
    pub pause_time: Duration,
    /// Time that requests to stores took, added up; those of one call can overlap.
    pub store_time: Duration,
    /// Time that questions to PD took, added up: timestamps and regions.
    pub pd_time: Duration,
    /// Bytes sent and received.
    pub traffic: TrafficDetails,
    /// What the stores said of the requests.
    pub stores: StoreDetails,
}

impl ExecDetails {
    /// Adds `other`.
    pub fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.time = self.time.saturating_add(other.time);
        self.requests += other.requests;
        self.pauses += other.pauses;
        self.pause_time = self.pause_time.saturating_add(other.pause_time);
        self.store_time = self.store_time.saturating_add(other.store_time);
        self.pd_time = self.pd_time.saturating_add(other.pd_time);
        self.traffic.merge(&other.traffic);
        self.stores.merge(&other.stores);
    }
}

impl Display for ExecDetails {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = duration_text;
        let Self { calls, failed, requests, pauses, .. } = self;
        write!(
            f,
            "{calls} calls ({failed} failed) in {}: {requests} requests {}",
            t(self.time),
            t(self.store_time)
        )?;
        write!(f, ", pd {}, {pauses} pauses {}", t(self.pd_time), t(self.pause_time))?;
        let (sent, received) = (bytes_text(self.traffic.sent), bytes_text(self.traffic.received));
        write!(f, ", sent {sent}, received {received}")?;
        let stores = self.stores.to_string();
        if stores.is_empty() { Ok(()) } else { write!(f, "; {stores}") }
    }
}

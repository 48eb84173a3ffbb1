//! How the PD service is bounded.

use std::time::Duration;

use crate::machine::Address;

/// Bounds of the PD service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PdConfig {
    /// Where PD was said to be, see [`parse_endpoints`](super::parse_endpoints).
    pub endpoints: Vec<Address>,
    /// What connecting may take.
    pub connect_timeout: Duration,
    /// What one request may take. pd: `client/opt/option.go: defaultPDTimeout`.
    pub request_timeout: Duration,
    /// What one member may take to name the others. pd: `UpdateMemberTimeout`.
    pub member_timeout: Duration,
    /// How often the members are asked although all goes well. pd: `MemberUpdateInterval`.
    pub refresh_interval: Duration,
    /// The first pause between two tries; doubles each time.
    pub pause_base: Duration,
    /// The longest pause.
    pub pause_cap: Duration,
    /// Queries under way at a time; more wait.
    pub at_work: usize,
    /// Queries that can wait or be under way; more are refused at once.
    pub most: usize,
    /// How often a query is asked that PD says no to.
    pub tries: u32,
    /// Of the URLs a member announces, those with `https` are meant.
    pub encrypted: bool,
}

impl PdConfig {
    /// The defaults, with what has none.
    #[must_use]
    pub fn new(endpoints: Vec<Address>, connect_timeout: Duration, request_timeout: Duration) -> Self {
        Self {
            endpoints,
            connect_timeout,
            request_timeout,
            member_timeout: Duration::from_secs(1),
            refresh_interval: Duration::from_secs(60),
            pause_base: Duration::from_millis(20),
            pause_cap: Duration::from_secs(1),
            at_work: 256,
            most: 1 << 16,
            tries: 5,
            encrypted: false,
        }
    }
}

//! What the runtimes of the TiKV client have in common.
//!
//! A runtime brings time, tasks and sockets; this crate makes the rest of it from them:
//!
//! * [`connect`]: a channel of gRPC calls, by HTTP/2 over whatever socket the runtime opened (module `channel`);
//! * [`first_of`]: the socket of a name that has several addresses;
//! * [`Tls`] (features `ring` and `aws-lc`): what a TLS handshake needs, from the client's configuration;
//! * [`Wait`]: calls that block the thread, and [`OwnThread`]: the thread of a runtime that nobody else drives;
//! * [`wall`]: the host's wall clock.
//!
//! Programs take it through a runtime's crate (`tikv-client-tokio`, `tikv-client-smol`). No executor and no I/O is in here:
//! of tokio it has the two traits that h2 wants sockets to have.

mod blocking;
mod channel;
mod dial;
mod tls;

use std::time::SystemTime;

pub use blocking::{OwnThread, Released, Wait, on_own_thread};
pub use channel::{Carrier, Connected, DialError, connect, unreachable};
pub use dial::first_of;
pub use tls::TlsError;
#[cfg(feature = "__tls")]
pub use tls::{Prepared, Tls};

use tikv_client_core::types::WallTime;

/// The host's wall clock.
#[must_use]
pub fn wall() -> WallTime {
    // A host whose clock is before 1970 is as good as one at 1970.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

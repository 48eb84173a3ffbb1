//! PD: the members of its cluster, and what the other services ask of it.

mod query;

pub use query::{PdQuery, PdReply, StoreInfo, StoreState};

//! Operations and the world around them.
//!
//! * [`operation`]: one operation with what it waits for; every ticket is accounted for;
//! * [`task`]: the machines of transactions as one type, so that many run side by side;
//! * [`cluster`]: the embedded model as the cluster, a directory, PD, and the fates that a request can meet on its way;
//! * [`truth`]: what the cluster's data says became of transactions.

pub mod cluster;
pub mod operation;
pub mod task;
pub mod truth;

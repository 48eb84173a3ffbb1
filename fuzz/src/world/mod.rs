//! Operations and the world around them.
//!
//! * [`operation`]: one operation with what it waits for; every ticket is accounted for;
//! * [`task`]: the machines of transactions as one type, so that many run side by side;
//! * [`cluster`]: the embedded model as the cluster, a directory, PD, and the fates that a request can meet on its way;
//! * [`truth`]: what the cluster's data says became of transactions;
//! * [`play`]: transactions, readers and dead clients side by side in that world; [`dead`]: clients that leave locks behind;
//! * [`judge`]: at the end, what was reported against what is true.

pub mod cluster;
pub mod dead;
pub mod judge;
pub mod operation;
pub mod play;
pub mod task;
pub mod truth;

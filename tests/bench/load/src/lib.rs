//! What every Rust client under benchmark runs: the same keys in the same order, from as many callers, measured in the same way.
//!
//! A benchmark starts each client in a process of its own. The process gets one argument, a [`Task`] as JSON, and prints one
//! line, an [`Outcome`] as JSON. [`run`] is all that is between: [`keys`] has what is read and written, `measure` the callers
//! and the clocks. The client-go program (`peers/client-go`) does the same in Go; that it draws the same keys is checked by
//! [`Outcome::draws`].
//!
//! This is a package of its own so that the programs of published clients, which are workspaces of their own, can use it
//! without compiling ours.

pub mod keys;
mod measure;
mod task;

pub use keys::{Keys, Space, draws};
pub use measure::{BoxFuture, Harness, cpu, run};
pub use task::{Action, Draw, Outcome, Task};

/// Why a run was not measured.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

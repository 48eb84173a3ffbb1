//! The benchmarks; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tikv_bench::main(None)
}

//! Makes `proto/src/generated` from `proto/protos`.
//!
//! ```text
//! cargo run -p tikv-proto-gen              # writes the files
//! cargo run -p tikv-proto-gen -- --check   # fails when the committed files differ
//! ```
//!
//! The generated code is committed, so that a user of `tikv-proto` compiles no protobuf compiler. `schema` reads the
//! `.proto` files, `messages` and `methods` turn them into Rust, `tree` writes the result or compares it.

mod messages;
mod methods;
mod schema;
mod tree;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// What can go wrong between a `.proto` file and a Rust file.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the .proto files do not compile: {0}")]
    Schema(#[from] protox::Error),
    #[error("no Rust code could be made: {0}")]
    Messages(#[source] std::io::Error),
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error("{0} is not what the .proto files give; run `cargo run -p tikv-proto-gen`")]
    Stale(String),
    #[error("CARGO_MANIFEST_DIR is not set; run through cargo")]
    NotByCargo,
    #[error("unknown argument `{0}`; the only one is --check")]
    Argument(String),
}

fn main() -> ExitCode {
    let outcome = run(std::env::args().skip(1));
    let (code, text) = match outcome {
        Ok(done) => (ExitCode::SUCCESS, done),
        Err(error) => (ExitCode::FAILURE, format!("error: {error}")),
    };
    // A closed stderr leaves the exit status, which is what a script looks at.
    match writeln!(std::io::stderr(), "{text}") {
        Ok(()) | Err(_) => code,
    }
}

fn run(arguments: impl Iterator<Item = String>) -> Result<String, Error> {
    let mut check = false;
    for argument in arguments {
        match argument.as_str() {
            "--check" => check = true,
            _ => return Err(Error::Argument(argument)),
        }
    }
    let proto = proto_folder()?;
    let files = schema::read(&proto.join("protos"))?;
    let mut made = messages::generate(files.clone())?;
    made.insert("methods.rs".to_owned(), methods::generate(&files));

    let folder = proto.join("src").join("generated");
    if check {
        tree::compare(&folder, &made)?;
        Ok(format!("{} generated files are what the .proto files give", made.len()))
    } else {
        tree::write(&folder, &made)?;
        Ok(format!("{} files written", made.len()))
    }
}

/// The folder of `tikv-proto`. Asked of the cargo that runs this, not of the one that built it: checkouts that share a
/// target directory also share the program.
fn proto_folder() -> Result<PathBuf, Error> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).ok_or(Error::NotByCargo)?;
    own.parent().map(PathBuf::from).ok_or(Error::NotByCargo)
}

//! The programs of the clients: found or built, or why there is none.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clients::Who;

/// Lines of a failed build that are shown.
const SHOWN: usize = 12;

/// This package's folder.
fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where programs and recordings go.
pub(crate) fn output() -> PathBuf {
    let root = package().join("../..");
    root.canonicalize().unwrap_or(root).join("target/tikv-bench")
}

/// How a client is started; the task is its last argument.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// The program of a client, built if it is one of its own.
pub(crate) fn program(who: Who) -> Result<Program, String> {
    match who {
        Who::Echo | Who::EchoH2 | Who::Ours | Who::OursSmol | Who::OursRing | Who::OursFile => {
            let path = std::env::current_exe().map_err(|error| error.to_string())?;
            Ok(of_ours(path, who))
        }
        Who::TikvClient => {
            let target = output().join("peers");
            let manifest = package().join("peers/tikv-client/Cargo.toml");
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--release", "--locked", "--manifest-path"]).arg(manifest);
            run(cargo.arg("--target-dir").arg(&target), "cargo")?;
            Ok(Program { path: target.join("release/tikv-client-bench"), arguments: Vec::new() })
        }
        Who::ClientGo => {
            let path = output().join("client-go-bench");
            let mut go = Command::new("go");
            go.current_dir(package().join("peers/client-go"));
            run(go.args(["build", "-o"]).arg(&path).arg("."), "go")?;
            Ok(Program { path, arguments: Vec::new() })
        }
    }
}

/// The program with an allocator that counts; it runs as any of our clients.
pub(crate) fn counted() -> Result<PathBuf, String> {
    let path = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--package", "tikv-bench", "--bin", "tikv-bench-counted"]);
    // Beside this program: all but the last step is built already.
    let target = path.parent().and_then(Path::parent).ok_or("this program lies in no target folder")?;
    run(cargo.current_dir(package()).arg("--target-dir").arg(target), "cargo")?;
    Ok(target.join("release/tikv-bench-counted"))
}

/// How `path`, this program or the counting one, is started as a client.
pub(crate) fn of_ours(path: PathBuf, who: Who) -> Program {
    Program { path, arguments: vec!["child".into(), who.name().into()] }
}

fn run(command: &mut Command, tool: &str) -> Result<(), String> {
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("no {tool}"),
        _ => format!("{tool}: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().collect();
    Err(format!("{tool} failed:\n{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n")))
}

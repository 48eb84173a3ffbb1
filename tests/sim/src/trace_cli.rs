//! `tikv-sim replay`, `show`, `list`, `redact`, `record`: traces on the command line.

use std::io::Write;
use std::path::Path;

use tikv_client_core::trace::{Records, redact, replay};
use tikv_sim::{scene, show};

fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{path}: {error}"))
}

fn write(path: &str, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("{path}: {error}"))
}

fn say(text: std::fmt::Arguments<'_>) {
    // A reader that has gone away wants nothing more.
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// The arguments without `-o FILE`, and that file.
fn output(args: impl Iterator<Item = String>) -> Result<(Vec<String>, Option<String>), String> {
    let (mut rest, mut out) = (Vec::new(), None);
    let mut args = args;
    while let Some(arg) = args.next() {
        if arg == "-o" {
            out = Some(args.next().ok_or("-o needs a file")?);
        } else {
            rest.push(arg);
        }
    }
    Ok((rest, out))
}

fn one(args: Vec<String>) -> Result<String, String> {
    <[String; 1]>::try_from(args).map(|[one]| one).map_err(|_| super::USAGE.to_owned())
}

/// Replays each file; false when one differs.
pub(super) fn replays(args: impl Iterator<Item = String>) -> Result<bool, String> {
    let (files, _) = output(args)?;
    if files.is_empty() {
        return Err(super::USAGE.to_owned());
    }
    let mut all = true;
    for file in files {
        let report = replay(&read(&file)?).map_err(|error| format!("{file}: {error}"))?;
        say(format_args!("{file}: {report}"));
        // Of a ring the beginnings may be cut off; a trace of which nothing could be replayed shows nothing.
        all &= report.is_identical() && report.identical > 0;
    }
    Ok(all)
}

/// Draws a trace as a page.
pub(super) fn draws(args: impl Iterator<Item = String>) -> Result<bool, String> {
    let (args, out) = output(args)?;
    let file = one(args)?;
    let title =
        Path::new(&file).file_name().map_or_else(|| file.clone().into(), |name| name.to_string_lossy());
    let page = show::page(&title, &read(&file)?).map_err(|error| format!("{file}: {error}"))?;
    let out = out.unwrap_or_else(|| format!("{file}.html"));
    write(&out, page.as_bytes())?;
    say(format_args!("{out}: {} bytes; open it in a browser", page.len()));
    Ok(true)
}

/// Hides the keys of a trace.
pub(super) fn redacts(args: impl Iterator<Item = String>) -> Result<bool, String> {
    let (args, out) = output(args)?;
    let file = one(args)?;
    let hidden = redact(&read(&file)?).map_err(|error| format!("{file}: {error}"))?;
    let out = out.unwrap_or_else(|| format!("{file}.redacted"));
    write(&out, &hidden)?;
    say(format_args!("{out}: {} bytes", hidden.len()));
    Ok(true)
}

/// Prints a trace.
pub(super) fn lists(args: impl Iterator<Item = String>) -> Result<bool, String> {
    let file = one(output(args)?.0)?;
    let trace = read(&file)?;
    let records = Records::new(&trace).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let records = records.map_err(|error| format!("{file}: {error}"))?;
    say(format_args!("{}", show::listing(&records)));
    Ok(true)
}

/// Plays a scene and writes its trace; without a name all of them.
pub(super) fn records(args: impl Iterator<Item = String>) -> Result<bool, String> {
    let (args, out) = output(args)?;
    let names = if args.is_empty() { scene::names().map(str::to_owned).collect() } else { args };
    if out.is_some() && names.len() > 1 {
        return Err("-o is for one scene".to_owned());
    }
    for name in names {
        let trace = scene::record(&name)?;
        let out =
            out.clone().unwrap_or_else(|| format!("{}/traces/{name}.trace", env!("CARGO_MANIFEST_DIR")));
        write(&out, &trace)?;
        say(format_args!("{out}: {} bytes", trace.len()));
    }
    Ok(true)
}

//! The program: what it prints, and how it ends.

#![cfg(feature = "serve")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

fn program(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tikv-embedded"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

#[test]
fn it_tells_its_pd_on_the_first_line_and_ends_on_ctrl_c() {
    let mut child = program(&["--stores", "2", "--regions", "4", "--pd-members=2"]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let addresses = line.trim_end().strip_prefix("TIKV_PD=").expect("the addresses");
    assert_eq!(addresses.split(',').count(), 2);
    for address in addresses.split(',') {
        let mut http = TcpStream::connect(address).expect("it listens");
        http.write_all(b"GET /pd/api/v1/stores HTTP/1.1\r\nConnection: close\r\n\r\n").expect("sent");
        let mut page = String::new();
        http.read_to_string(&mut page).expect("an answer");
        assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("\"count\":2"), "{page}");
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(interrupted.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn bad_arguments_are_named_and_end_it_with_2() {
    for (arguments, named) in [
        (&["--store", "3"][..], "unknown argument \"--store\""),
        (&["--stores"], "--stores needs a value"),
        (&["--regions", "x"], "--regions needs a number, got \"x\""),
        (&["--stores", "0"], "0 stores, must be from 1 to 128"),
    ] {
        let output = program(arguments).wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(named), "{told}");
        assert!(output.stdout.is_empty());
    }
}

/// A file for one test, gone with it.
struct ScriptFile(std::path::PathBuf);

impl ScriptFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tikv-embedded-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a file");
        Self(path)
    }

    fn argument(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for ScriptFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[test]
fn a_script_is_carried_out_and_seen_on_the_admin_port() {
    let script = ScriptFile::new("good", "# a bound\n0s split key=m\n10ms fault seen on=RawGet do=lose\n");
    let mut child = program(&["--regions", "1", "--admin-port=0", "--script", script.argument()]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    lines.next().expect("PD's line").expect("text");
    let line = lines.next().expect("the admin port's line").expect("text");
    let admin = line.strip_prefix("TIKV_ADMIN=http://").expect("the address").to_owned();
    let seen = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let mut http = TcpStream::connect(&admin).expect("it listens");
        http.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").expect("sent");
        let mut page = String::new();
        http.read_to_string(&mut page).expect("an answer");
        page.contains("\"seen\":0") && page.contains("\"version\":2")
    });
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(interrupted.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(seen, "the region's new version and the fault");
}

#[test]
fn a_script_that_cannot_be_read_or_carried_out_ends_it_and_the_line_is_named() {
    for (name, text, code, named) in [
        (
            "unread",
            "0s split key=m\n5s explode\n",
            2,
            "is no script: line 2: unknown instruction \"explode\"",
        ),
        ("undone", "0s stop node=store:9\n", 1, "line 1 of the script could not be carried out"),
    ] {
        let script = ScriptFile::new(name, text);
        let output = program(&["--script", script.argument()]).wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(named), "{told}");
    }
}

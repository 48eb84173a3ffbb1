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

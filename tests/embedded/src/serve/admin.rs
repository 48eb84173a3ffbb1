//! The admin port: what another process does to a cluster, and sees of it.
//!
//! Plain HTTP on the loopback interface:
//!
//! * `GET /` answers the cluster's state as JSON: PD members, stores, regions, faults, and calls by method.
//! * `GET /help` answers an example of every instruction, see [`crate::control::instruction`].
//! * `POST /` with instructions, one a line, carries them out in order and answers a JSON list of what each has brought
//!   about. A line that cannot be read: 400, and none is carried out. One that cannot be done: 409, with the outcomes of
//!   those before it; those behind it are not tried.
//!
//! ```console
//! $ curl -d 'split key=m' http://127.0.0.1:20180/
//! [{"regions":[8,4]}]
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::carry_out::Outcome;
use super::cluster::Cluster;
use super::{http1, place};
use crate::control::Instruction;
use crate::control::instruction::EXAMPLES;
use crate::model::pd::http::Page;

/// Dials that may wait to be taken.
const BACKLOG: u32 = 64;

/// A cluster's admin port. It closes when this is dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    /// Closed, it ends the thread.
    close: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Opens the admin port of `cluster` on the loopback interface, 0: any that is free.
    ///
    /// It has a thread of its own, as an instruction may wait for the cluster's.
    ///
    /// # Errors
    /// The port is taken, or no thread is to be had.
    pub fn start(cluster: Arc<Cluster>, port: u16) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let listener = {
            let _inside = runtime.enter();
            place::bind(port)?.listen(BACKLOG)?
        };
        let address = listener.local_addr()?;
        let (close, closed) = oneshot::channel();
        let thread = std::thread::Builder::new().name("tikv-embedded-admin".to_owned()).spawn(move || {
            runtime.block_on(listen(listener, &cluster, closed));
            // An instruction that waits is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { address, close: Some(close), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.close.take());
        // A panic of the thread has been reported by itself.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

async fn listen(listener: TcpListener, cluster: &Arc<Cluster>, mut closed: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            dialled = listener.accept() => {
                if let Ok((stream, _)) = dialled {
                    let cluster = Arc::clone(cluster);
                    connections.spawn(http1::serve_with(stream, move |request| answer(Arc::clone(&cluster), request)));
                }
            }
            Some(_) = connections.join_next() => {}
            _ = &mut closed => return,
        }
    }
}

async fn answer(cluster: Arc<Cluster>, request: http1::Request) -> Page {
    let done =
        tokio::task::spawn_blocking(move || match (request.method.as_str(), request.target.as_str()) {
            ("GET", "/") => page(200, &cluster.state().json()),
            ("GET", "/help") => plain(200, EXAMPLES),
            ("POST", "/") => carry_out(&cluster, &String::from_utf8_lossy(&request.body)),
            (_, "/" | "/help") => plain(405, "only GET and, on /, POST\n"),
            _ => plain(404, "there are / and /help\n"),
        });
    done.await.unwrap_or_else(|_| plain(500, "the instruction was not carried out to its end\n"))
}

fn page(status: u16, body: &Value) -> Page {
    Page { status, json: true, body: body.to_string() + "\n" }
}

fn plain(status: u16, text: &str) -> Page {
    Page { status, json: false, body: text.to_owned() }
}

/// Carries the instructions of `text` out, one a line.
fn carry_out(cluster: &Cluster, text: &str) -> Page {
    let mut instructions: Vec<(usize, Instruction)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.parse() {
            Ok(instruction) => instructions.push((number, instruction)),
            Err(error) => return page(400, &json!({"line": number, "error": error.to_string(), "done": []})),
        }
    }
    let mut done = Vec::with_capacity(instructions.len());
    for (number, instruction) in instructions {
        match cluster.carry_out(&instruction) {
            Ok(outcome) => done.push(outcome_json(&outcome)),
            Err(error) => {
                let error = crate::control::chain(&error);
                return page(409, &json!({"line": number, "error": error, "done": done}));
            }
        }
    }
    page(200, &Value::from(done))
}

fn outcome_json(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Done => json!({}),
        Outcome::Store { store, address } => json!({"store": store, "address": address.to_string()}),
        Outcome::Regions(regions) => json!({"regions": regions}),
        Outcome::Peer(peer) => json!({"peer": peer}),
        Outcome::Hits(hits) => json!({"hits": hits}),
    }
}

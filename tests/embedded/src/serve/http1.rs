//! Plain HTTP/1.1 on the ports that also speak gRPC: PD's API, a store's configuration.
//!
//! One request after another on a connection; a body needs its length in front.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::shared::Shared;
use crate::control::Node;
use crate::model::pd::Asked;
use crate::model::pd::http::{self, Page};

/// How the first bytes of an HTTP/2 connection begin; no method of HTTP/1 does.
const HTTP2: &[u8] = b"PRI ";
/// The longest head of a request, and the longest body, in bytes.
const LONGEST: usize = 1 << 20;
/// Between two looks at a client that sends its first bytes one by one.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Whether the client speaks HTTP/1.
pub(super) async fn is_plain(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; HTTP2.len()];
    loop {
        let seen = stream.peek(&mut first).await?;
        let begun = first.get(..seen).unwrap_or_default();
        if !HTTP2.starts_with(begun) {
            return Ok(true);
        }
        match seen {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if seen == HTTP2.len() => return Ok(false),
            // A peek does not wait for more than it has shown.
            _ => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

/// A request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// A path with its query.
    pub(super) target: String,
    pub(super) body: Vec<u8>,
    /// Whether no other may follow.
    close: bool,
}

/// Answers the requests to a server of the cluster.
pub(super) async fn serve(shared: &Shared, node: Node, stream: TcpStream) {
    let answer = |request: Request| {
        std::future::ready(shared.with(|cluster, now| match node {
            Node::Pd(member) => {
                if request.target.contains("/min-resolved-ts") {
                    cluster.report_resolved(now);
                }
                let asked = Asked::new(&mut cluster.topology, member, now);
                cluster.pd.http(asked, http::Request::new(&request.method, &request.target, &request.body))
            }
            _ => http::store_page(&request.method, &request.target, cluster.engine().api()),
        }))
    };
    serve_with(stream, answer).await;
}

/// Answers requests until the client ends the connection or breaks the rules.
pub(super) async fn serve_with<F: Future<Output = Page>>(
    mut stream: TcpStream,
    answer: impl Fn(Request) -> F,
) {
    let mut received = Vec::new();
    // A connection that fails concerns only its client.
    while let Ok(Some(request)) = receive(&mut stream, &mut received).await {
        let close = request.close;
        let page = answer(request).await;
        if stream.write_all(&wire(&page)).await.is_err() || close {
            return;
        }
    }
}

/// The next request; `None` if there is none that can be answered.
async fn receive(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let head = loop {
        if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = received.split_off(end + 4);
            break std::mem::replace(received, rest);
        }
        if received.len() > LONGEST || stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&head);
    let Some(head) = Head::parse(&head) else {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await?;
        return Ok(None);
    };
    while received.len() < head.length {
        if head.length > LONGEST || stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
    let rest = received.split_off(head.length);
    let body = std::mem::replace(received, rest);
    let (method, target) = (head.method.to_owned(), head.target.to_owned());
    Ok(Some(Request { method, target, body, close: head.close }))
}

/// What matters of a request's head.
struct Head<'a> {
    method: &'a str,
    target: &'a str,
    /// Of the body, in bytes.
    length: usize,
    close: bool,
}

impl<'a> Head<'a> {
    fn parse(head: &'a str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let mut parsed = Self { method, target, length: 0, close: false };
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") {
                parsed.length = value.trim().parse().ok()?;
            } else if name.eq_ignore_ascii_case("connection") {
                parsed.close = value.trim().eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return None;
            }
        }
        Some(parsed)
    }
}

fn wire(page: &Page) -> Vec<u8> {
    let reason = match page.status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        503 => "Service Unavailable",
        410 => "Gone",
        _ => "Internal Server Error",
    };
    let kind = if page.json { "application/json; charset=UTF-8" } else { "text/plain; charset=utf-8" };
    let length = page.body.len();
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n",
        page.status
    );
    [head.as_bytes(), page.body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_its_body_and_whether_more_follows() {
        let head = Head::parse("GET /a?b=c HTTP/1.1\r\nContent-LENGTH: 12\r\nConnection: Close\r\n\r\n")
            .expect("a head");
        assert_eq!((head.method, head.target, head.length, head.close), ("GET", "/a?b=c", 12, true));
        for broken in
            ["", "GET", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
        {
            assert!(Head::parse(broken).is_none(), "{broken:?}");
        }
    }
}

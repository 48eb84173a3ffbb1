//! The part of PD's HTTP API that clients, tools and tests ask.
//!
//! * here: a request, a [`Page`], and which of the following answers what.
//! * `cluster`: members, health, configuration, placement rules, resolved timestamps, service safe points.
//! * `stores`, `regions`, `keyspaces`: these. Operators are in `operators`.
//! * `body`: JSON bodies, and Go's words for broken ones.
//!
//! PD: `server/api/router.go`, `server/apiv2/router.go`.

mod body;
mod cluster;
mod keyspaces;
mod regions;
mod rules;
mod stores;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::{Asked, Pd};
use crate::model::Api;
pub(super) use rules::Rules;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// HTTP's status code.
    pub status: u16,
    /// Whether the body is JSON, or else plain text.
    pub json: bool,
    /// The body.
    pub body: String,
}

impl Page {
    pub(super) fn value(status: u16, value: &Value) -> Self {
        Self { status, json: true, body: format!("{value}\n") }
    }

    /// A JSON text.
    pub(super) fn text(status: u16, text: &str) -> Self {
        Self::value(status, &Value::from(text))
    }

    /// Plain text.
    fn plain(status: u16, text: &str) -> Self {
        Self { status, json: false, body: text.to_owned() }
    }

    fn not_found() -> Self {
        Self::plain(404, "404 page not found\n")
    }
}

/// A request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// `GET` and so on.
    pub method: &'a str,
    /// The path with its query.
    pub target: &'a str,
    /// The body; empty: none.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A request for `target`.
    #[must_use]
    pub fn new(method: &'a str, target: &'a str, body: &'a [u8]) -> Self {
        Self { method, target, body }
    }

    /// The value of a parameter of the query, the first if there are several; empty if there is none.
    fn parameter(&self, name: &str) -> Vec<u8> {
        self.parameters(name).next().unwrap_or_default()
    }

    fn parameters(&self, name: &str) -> impl Iterator<Item = Vec<u8>> {
        let (_, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(move |(key, _)| *key == name).map(|(_, value)| unescape(value))
    }

    fn text_parameter(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.parameter(name)).into_owned()
    }
}

/// A store's own page: how it is configured.
#[must_use]
pub fn store_page(method: &str, target: &str, api: Api) -> Page {
    match (method, target) {
        ("GET", "/config") => {
            let version = if api == Api::V2 { 2 } else { 1 };
            let storage = serde_json::json!({ "api-version": version, "enable-ttl": api != Api::V1 });
            Page::value(200, &serde_json::json!({ "storage": storage }))
        }
        ("GET", "/status") => Page::plain(200, ""),
        _ => Page::not_found(),
    }
}

impl Pd {
    /// From now on all HTTP requests fail with this status; `None`: they are answered again.
    pub fn fail_http(&mut self, status: Option<u16>) {
        self.http_failure = status;
    }

    /// Answers an HTTP request. Members that do not lead answer for the one that does, as PD's pass requests on.
    pub fn http(&mut self, mut asked: Asked<'_>, request: Request<'_>) -> Page {
        self.tick(asked.topology, asked.now);
        if let Some(status) = self.http_failure {
            return Page::text(status, "out of order");
        }
        let path = request.target.split_once('?').map_or(request.target, |(path, _)| path);
        let asked = &mut asked;
        match path.split('/').skip(1).filter(|part| !part.is_empty()).collect::<Vec<_>>().as_slice() {
            ["pd", "api", "v1", rest @ ..] => self.version_1(asked, request, rest),
            ["pd", "api", "v2", "keyspaces", rest @ ..] => self.keyspaces_page(asked, request, rest),
            ["pd", "health"] if request.method == "GET" => self.health_page(),
            ["pd", "ping"] if request.method == "GET" => Page::plain(200, ""),
            _ => Page::not_found(),
        }
    }

    fn version_1(&mut self, asked: &mut Asked<'_>, request: Request<'_>, path: &[&str]) -> Page {
        match path {
            ["store" | "stores", ..] => self.stores_page(asked, request, path),
            ["region" | "regions" | "stats", ..] => self.regions_page(asked, request, path),
            ["operators", ..] => self.operators_page(asked, request, path),
            ["config", "rule" | "rules" | "rule_group" | "rule_groups" | "placement-rule", ..] => {
                self.rules.page(request, path)
            }
            _ => self.cluster_page(asked, request, path),
        }
    }

    fn operators_page(&mut self, asked: &mut Asked<'_>, request: Request<'_>, path: &[&str]) -> Page {
        match (request.method, path) {
            ("POST", ["operators"]) => match body::read(request.body) {
                Ok(order) => self.order(asked.topology, asked.now, &order),
                Err(error) => Page::value(400, &body::input_error(&error)),
            },
            ("GET", ["operators"]) => {
                let running = self.operators.iter().filter(|(_, operator)| !operator.has_ended());
                Page::value(200, &running.map(|(&region, operator)| operator.line(region)).collect())
            }
            ("DELETE", ["operators"]) => {
                self.cancel_operators(None);
                Page::text(200, "All pending operators are canceled.")
            }
            ("GET" | "DELETE", ["operators", id]) => {
                let Ok(region) = id.parse() else { return Page::text(400, &super::go::no_number(id)) };
                let Some(operator) = self.operators.get(&region) else {
                    return Page::text(500, "[PD:schedule:ErrOperatorNotFound]operator not found");
                };
                if request.method == "GET" {
                    return Page::value(200, &operator.line(region));
                }
                self.cancel_operators(Some(region));
                Page::text(200, "The pending operator is canceled.")
            }
            _ => Page::not_found(),
        }
    }
}

/// The bytes of a text with percent escapes; a broken escape stays as it is.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let digits = (byte == b'%').then(|| behind.split_at_checked(2)).flatten();
        match digits.and_then(|(digits, behind)| Some((digit(digits, 0)? << 4 | digit(digits, 1)?, behind))) {
            Some((escaped, behind)) => {
                out.push(escaped);
                rest = behind;
            }
            None => out.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    out
}

fn digit(digits: &[u8], at: usize) -> Option<u8> {
    let digit = char::from(*digits.get(at)?).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// The bytes of a hexadecimal text.
pub(super) fn unhex(text: &str) -> Option<bytes::Bytes> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| Some(digit(pair, 0)? << 4 | digit(pair, 1)?))
        .collect::<Option<Vec<u8>>>()
        .map(Into::into)
}

/// A key as the API has it: in upper-case hexadecimal.
fn hex(key: &[u8]) -> String {
    format!("{:X}", bytes::Bytes::copy_from_slice(key))
}

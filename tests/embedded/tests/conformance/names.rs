//! The symbols of a scenario: `@` is its prefix, `ts` its timestamp, `$region` and the like where a request went.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use tikv_embedded::model::key;

/// One millisecond in a timestamp.
pub(crate) const MS: i128 = 1 << 18;
/// Numbers this close to a scenario's timestamp are timestamps.
const NEAR: i128 = 3_600_000 * MS;

/// What the symbols of one scenario stand for.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) base: i128,
    prefix: Vec<u8>,
    /// The largest timestamp that was used.
    pub(crate) high: i128,
    pub(crate) route: BTreeMap<&'static str, u64>,
}

impl Names {
    pub(crate) fn new(base: u64, prefix: String) -> Self {
        Self { base: base.into(), prefix: prefix.into_bytes(), high: 0, route: BTreeMap::new() }
    }

    pub(crate) fn bytes_in(&self, text: &str) -> Vec<u8> {
        let (mut bytes, text) = match text.strip_prefix('@') {
            Some(rest) => (self.prefix.clone(), rest),
            None => (Vec::new(), text),
        };
        if let Some(hex) = text.strip_prefix("hex:") {
            let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            bytes.extend((0..hex.len()).step_by(2).map(digits));
        } else if let Some((count, byte)) = text.strip_prefix("rep:").and_then(|rest| rest.split_once('*')) {
            bytes.extend(byte.repeat(count.parse().unwrap()).bytes());
        } else {
            bytes.extend(text.bytes());
        }
        bytes
    }

    pub(crate) fn bytes_out(&mut self, raw: &[u8]) -> String {
        let (head, raw) = match raw.strip_prefix(self.prefix.as_slice()) {
            Some(rest) => ("@", rest),
            None => ("", raw),
        };
        if head.is_empty()
            && let Some((encoded, ts)) = raw.split_last_chunk::<8>()
            && raw.len() > 17
            && let Some(plain) = key::decode(encoded)
            && plain.starts_with(&self.prefix)
        {
            // A row of the write column.
            let ts = self.number_out((!u64::from_be_bytes(*ts)).into());
            return format!("enc({}){}", self.bytes_out(&plain), ts.as_str().unwrap_or_default());
        }
        let printable = raw.iter().all(|byte| (0x20..0x7f).contains(byte));
        let text = String::from_utf8_lossy(raw);
        if raw.len() >= 64 && printable && raw.iter().all(|byte| *byte == raw[0]) {
            return format!("{head}rep:{}*{}", raw.len(), &text[..1]);
        }
        if !printable || ["@", "hex:", "rep:"].iter().any(|mark| text.starts_with(mark)) {
            let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
            return format!("{head}hex:{hex}");
        }
        format!("{head}{text}")
    }

    /// A region bound: what lies outside the scenario's own keys is not compared.
    pub(crate) fn bound_out(&mut self, raw: &[u8]) -> String {
        if raw.starts_with(&self.prefix) {
            return self.bytes_out(raw);
        }
        match key::decode(raw) {
            Some(plain) if plain.starts_with(&self.prefix) => format!("enc({})", self.bytes_out(&plain)),
            _ => "*".to_owned(),
        }
    }

    pub(crate) fn number_in(&mut self, json: &Json) -> i128 {
        let Some(text) = json.as_str() else {
            return json.as_i64().map_or_else(|| json.as_u64().unwrap().into(), i128::from);
        };
        if text == "max" {
            return u64::MAX.into();
        }
        if let Some(rest) = text.strip_prefix('$') {
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            let value = i128::from(self.route[&rest[..end]]);
            return (value + offset(&rest[end..])).max(0);
        }
        let rest = text.strip_prefix("ts").unwrap_or_else(|| panic!("not a number: {text}"));
        let (ms, rest) = rest.split_once("ms").map_or((0, rest), |(ms, rest)| (offset(ms), rest));
        let ts = self.base + ms * MS + offset(rest);
        self.high = self.high.max(ts);
        ts
    }

    pub(crate) fn number_out(&mut self, value: i128) -> Json {
        if value == i128::from(u64::MAX) {
            return json!("max");
        }
        let diff = value - self.base;
        if diff.abs() > NEAR {
            return json!(i64::try_from(value).unwrap());
        }
        self.high = self.high.max(value);
        let ms = (diff + MS / 2).div_euclid(MS);
        let rest = diff - ms * MS;
        let ms = if ms == 0 { String::new() } else { format!("{ms:+}ms") };
        let rest = if rest == 0 { String::new() } else { format!("{rest:+}") };
        json!(format!("ts{ms}{rest}"))
    }

    pub(crate) fn id_out(&self, value: u64) -> &'static str {
        let known = [("region", "$region"), ("peer", "$peer"), ("store", "$store")];
        let found = known.iter().find(|(name, _)| self.route.get(name) == Some(&value));
        found.map_or("#", |(_, symbol)| symbol)
    }
}

/// `+5`, `-5` or nothing.
fn offset(text: &str) -> i128 {
    if text.is_empty() { 0 } else { text.parse().unwrap_or_else(|_| panic!("not an offset: {text}")) }
}

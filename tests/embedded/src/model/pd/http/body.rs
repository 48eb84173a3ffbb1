//! JSON bodies, and Go's words for broken ones.
//!
//! Go: `encoding/json/scanner.go`, `decode.go`.

use serde_json::{Map, Value, json};

/// Deeper values are refused, here and by the parser.
const DEEPEST: usize = 100;

/// Reads a JSON value at the front of a body, as Go's decoder does: what follows it is not looked at.
///
/// # Errors
/// What is wrong, in Go's words.
pub(super) fn read(body: &[u8]) -> Result<Value, String> {
    let mut scanner = Scanner { body, at: 0 };
    scanner.skip_space();
    if scanner.peek().is_none() {
        return Err("EOF".to_owned());
    }
    scanner.value(0)?;
    let value = body.get(..scanner.at).unwrap_or_default();
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

/// The body of an answer to a request that is wrong.
// PD: pkg/errs, pingcap/errcode: NewInvalidInputErr
pub(super) fn input_error(message: &str) -> Value {
    json!({ "code": "input", "msg": message, "data": {} })
}

/// The fields of an object; null is an object without any.
pub(super) fn fields<'a>(value: &'a Value, of: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    match value {
        Value::Object(fields) => Ok(Some(fields)),
        Value::Null => Ok(None),
        other => Err(format!("json: cannot unmarshal {} into Go value of type handlers.{of}", kind(other))),
    }
}

/// A text among the fields; empty if it is not there.
pub(super) fn text(fields: Option<&Map<String, Value>>, name: &str, of: &str) -> Result<String, String> {
    match fields.and_then(|fields| fields.get(name)) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(mismatch(other, of, name, "string")),
    }
}

/// Texts by name among the fields; a null text is told apart.
pub(super) fn texts(
    fields: Option<&Map<String, Value>>,
    name: &str,
    of: &str,
) -> Result<super::super::keyspaces::Patch, String> {
    let map = match fields.and_then(|fields| fields.get(name)) {
        None | Some(Value::Null) => return Ok(Default::default()),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(mismatch(other, of, name, "map[string]string")),
    };
    let texts = map.iter().map(|(key, value)| match value {
        Value::Null => Ok((key.clone(), None)),
        Value::String(text) => Ok((key.clone(), Some(text.clone()))),
        other => Err(mismatch(other, of, name, "string")),
    });
    texts.collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn mismatch(value: &Value, of: &str, field: &str, wanted: &str) -> String {
    format!("json: cannot unmarshal {} into Go struct field {of}.{field} of type {wanted}", kind(value))
}

/// Looks where a value breaks the rules first.
struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next byte, which must be there.
    fn next(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or_else(|| "unexpected EOF".to_owned())?;
        self.at += 1;
        Ok(byte)
    }

    /// The next byte that is no space.
    fn next_token(&mut self) -> Result<u8, String> {
        self.skip_space();
        self.next()
    }

    fn value(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err("exceeded max depth".to_owned());
        }
        match self.next_token()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' => match self.next()? {
                b'0' => self.fraction(),
                b'1'..=b'9' => self.number(),
                other => Err(invalid(other, "in numeric literal")),
            },
            b'0' => self.fraction(),
            b'1'..=b'9' => self.number(),
            other => Err(invalid(other, "looking for beginning of value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), String> {
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            match self.next_token()? {
                b'"' => self.string()?,
                other => return Err(invalid(other, "looking for beginning of object key string")),
            }
            match self.next_token()? {
                b':' => self.value(depth + 1)?,
                other => return Err(invalid(other, "after object key")),
            }
            match self.next_token()? {
                b',' => {}
                b'}' => return Ok(()),
                other => return Err(invalid(other, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), String> {
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            match self.next_token()? {
                b',' => {}
                b']' => return Ok(()),
                other => return Err(invalid(other, "after array element")),
            }
        }
    }

    fn string(&mut self) -> Result<(), String> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let digit = self.next()?;
                            if !digit.is_ascii_hexdigit() {
                                return Err(invalid(digit, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    other => return Err(invalid(other, "in string escape code")),
                },
                control @ 0..0x20 => return Err(invalid(control, "in string literal")),
                _ => {}
            }
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), String> {
        for expected in word.bytes().skip(1) {
            let byte = self.next()?;
            if byte != expected {
                let expected = char::from(expected);
                return Err(invalid(byte, &format!("in literal {word} (expecting '{expected}')")));
            }
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<(), String> {
        self.digits();
        self.fraction()
    }

    fn fraction(&mut self) -> Result<(), String> {
        if self.peek() == Some(b'.') {
            self.at += 1;
            let digit = self.next()?;
            if !digit.is_ascii_digit() {
                return Err(invalid(digit, "after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            let mut digit = self.next()?;
            if matches!(digit, b'+' | b'-') {
                digit = self.next()?;
            }
            if !digit.is_ascii_digit() {
                return Err(invalid(digit, "in exponent of numeric literal"));
            }
            self.digits();
        }
        Ok(())
    }
}

fn invalid(byte: u8, place: &str) -> String {
    let shown = match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        byte => {
            let quoted = super::super::go::quoted(&char::from(byte).to_string());
            format!("'{}'", quoted.trim_matches('"'))
        }
    };
    format!("invalid character {shown} {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_bodies_are_told_in_gos_words() {
        let table = [
            ("", "EOF"),
            ("  ", "EOF"),
            ("{", "unexpected EOF"),
            (r#"{"a""#, "unexpected EOF"),
            ("{nope", "invalid character 'n' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":1 "b"}"#, "invalid character '\"' after object key:value pair"),
            (r#"{"a":01}"#, "invalid character '1' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("nul1", "invalid character '1' in literal null (expecting 'l')"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("'a'", "invalid character '\\'' looking for beginning of value"),
            ("\u{e9}", "invalid character '\\u00c3' looking for beginning of value"),
        ];
        for (body, error) in table {
            assert_eq!(read(body.as_bytes()), Err(error.to_owned()), "{body:?}");
        }
        assert_eq!(read(&b"[".repeat(100_000)), Err("exceeded max depth".to_owned()));
    }

    #[test]
    fn what_follows_a_value_is_not_looked_at() {
        assert_eq!(
            read(br#" {"a":[1,-2.5e3,true,null,"\u00e9"]} x"#),
            Ok(json!({"a":[1,-2500.0,true,null,"é"]}))
        );
    }

    #[test]
    fn fields_of_another_type_are_named() {
        let body = json!({ "name": 1, "config": { "a": 2 } });
        let fields = fields(&body, "Params").expect("an object");
        assert_eq!(
            text(fields, "name", "Params"),
            Err("json: cannot unmarshal number into Go struct field Params.name of type string".to_owned())
        );
        assert!(texts(fields, "config", "Params").is_err());
        assert!(super::fields(&json!([1]), "Params").is_err());
    }
}

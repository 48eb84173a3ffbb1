//! Symbols, and the comparison of what came with what must come.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

/// Fields that are volatile in a real cluster: a new peer is pending for a moment.
const IGNORED: [&str; 2] = ["down_peers", "pending_peers"];

/// Symbols and what they stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env(pub(crate) BTreeMap<String, Value>);

/// `name`, `name+N` or `name-N`: the name and what is added.
fn expression(text: &str) -> Option<(&str, i128)> {
    let end = text.find(['+', '-']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let first = name.chars().next()?;
    if !(first.is_ascii_alphabetic() || first == '_') {
        return None;
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return None;
    }
    if rest.is_empty() {
        return Some((name, 0));
    }
    let number: i128 = rest.get(1..)?.parse().ok()?;
    Some((name, if rest.starts_with('-') { -number } else { number }))
}

/// The symbol that a whole text is.
fn symbol(text: &str) -> Option<(&str, i128)> {
    expression(text.strip_prefix('$')?)
}

pub(crate) fn integer(value: &Value) -> Option<i128> {
    let number = value.as_number()?;
    number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from))
}

pub(crate) fn number(value: i128) -> Value {
    let number = u64::try_from(value).map(Number::from).or_else(|_| i64::try_from(value).map(Number::from));
    Value::Number(number.expect("a 64-bit number"))
}

impl Env {
    fn value(&self, (name, plus): (&str, i128)) -> Option<Value> {
        let value = self.0.get(name)?;
        Some(if plus == 0 { value.clone() } else { number(integer(value)? + plus) })
    }

    /// A text with the symbols in it replaced.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            out.push_str(before);
            let replaced = behind.split_once('}').and_then(|(inner, behind)| {
                let value = self.value(expression(inner)?)?;
                Some((value.as_str().map_or_else(|| value.to_string(), str::to_owned), behind))
            });
            match replaced {
                Some((value, behind)) => {
                    out.push_str(&value);
                    rest = behind;
                }
                None => {
                    out.push('{');
                    rest = behind;
                }
            }
        }
        out + rest
    }

    /// A request with all symbols replaced.
    pub(crate) fn resolve(&self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(key, value)| {
                    let key = self.resolve(&Value::from(key.as_str()));
                    (key.as_str().map_or_else(|| key.to_string(), str::to_owned), self.resolve(value))
                })
                .collect(),
            Value::Array(items) => items.iter().map(|item| self.resolve(item)).collect(),
            Value::String(text) => {
                let whole = symbol(text).and_then(|symbol| self.value(symbol));
                whole.unwrap_or_else(|| self.text(text).into())
            }
            other => other.clone(),
        }
    }

    /// Binds a symbol. Symbols of one family (the same letters) name different things.
    fn bind(&mut self, name: &str, value: Value) -> Result<(), String> {
        let stem = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let family = stem(name);
        if family != name {
            let same = |(other, of): (&String, &Value)| {
                *other != name && stem(other) == family && *other != family && *of == value
            };
            if let Some((other, _)) = self.0.iter().find(|(other, of)| same((other, of))) {
                return Err(format!("${name} would equal ${other} ({value})"));
            }
        }
        self.0.insert(name.to_owned(), value);
        Ok(())
    }
}

/// Compares what came with what must come; symbols that are not bound yet are bound.
pub(crate) fn compare(want: &Value, got: Option<&Value>, env: &mut Env, path: &str, out: &mut Vec<String>) {
    match want {
        Value::String(text) => compare_text(text, got, env, path, out),
        Value::Object(fields) if fields.contains_key("$has") => has(fields, got, env, path, out),
        Value::Object(fields) => compare_object(fields, got, env, path, out),
        Value::Array(items) => match got {
            Some(Value::Array(there)) if there.len() == items.len() => {
                for (index, (item, there)) in items.iter().zip(there).enumerate() {
                    compare(item, Some(there), env, &format!("{path}[{index}]"), out);
                }
            }
            got => out.push(format!("{path}: want {} elements, got {}", items.len(), short(got))),
        },
        Value::Number(number) => {
            let same = match got.and_then(Value::as_number) {
                Some(got) if number.is_f64() || got.is_f64() => {
                    let (a, b) = (number.as_f64().unwrap_or(f64::NAN), got.as_f64().unwrap_or(f64::NAN));
                    (a - b).abs() <= 1e-6 * a.abs().max(1.0)
                }
                Some(got) => got == number,
                None => false,
            };
            if !same {
                out.push(format!("{path}: want {number}, got {}", short(got)));
            }
        }
        Value::Null | Value::Bool(_) => {
            if got.unwrap_or(&Value::Null) != want {
                out.push(format!("{path}: want {want}, got {}", short(got)));
            }
        }
    }
}

fn compare_text(want: &str, got: Option<&Value>, env: &mut Env, path: &str, out: &mut Vec<String>) {
    if let Some((name, plus)) = symbol(want) {
        let Some(bound) = env.value((name, plus)) else {
            let bound = match got {
                None => Err(format!("want a value for {want}, got nothing")),
                Some(got) if plus == 0 => env.bind(name, got.clone()),
                Some(got) => match integer(got) {
                    Some(got) => env.bind(name, number(got - plus)),
                    None => Err(format!("want a number for {want}, got {got}")),
                },
            };
            if let Err(why) = bound {
                out.push(format!("{path}: {why}"));
            }
            return;
        };
        // A number that is 0 is left out of messages.
        let zero = Value::from(0);
        let absent = if bound.is_number() { &zero } else { &Value::Null };
        if &bound != got.unwrap_or(absent) {
            out.push(format!("{path}: want {want} = {bound}, got {}", short(got)));
        }
        return;
    }
    if let Some(matcher) = want.strip_prefix('~') {
        if !matches(matcher, got, env) {
            out.push(format!("{path}: want {want}, got {}", short(got)));
        }
        return;
    }
    let want = env.text(want);
    let same = got.and_then(Value::as_str).is_some_and(|got| {
        if want.contains("{*}") {
            parts_in_order(&want.split("{*}").collect::<Vec<_>>(), got, true)
        } else {
            got == want
        }
    });
    if !same {
        out.push(format!("{path}: want {want:?}, got {}", short(got)));
    }
}

/// Whether `text` begins with the first part, ends with the last if `whole`, and has all in order.
fn parts_in_order(parts: &[&str], text: &str, whole: bool) -> bool {
    let Some((first, others)) = parts.split_first() else { return true };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for (index, part) in others.iter().enumerate() {
        if whole && index + 1 == others.len() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    !whole || !others.is_empty() || rest.is_empty()
}

fn matches(matcher: &str, got: Option<&Value>, env: &Env) -> bool {
    let (kind, argument) = matcher.split_once(':').unwrap_or((matcher, ""));
    let as_number = got.and_then(Value::as_f64);
    let text = got.and_then(Value::as_str);
    let whole = got.and_then(integer);
    let bound = || {
        let named = argument.starts_with(|c: char| c.is_ascii_alphabetic());
        let value = if named { env.value((argument, 0)) } else { argument.parse().ok().map(number) };
        value.as_ref().and_then(integer).expect("the bound of a matcher is a number")
    };
    let peer = |peer: &Value| {
        let id = |name| peer.get(name).and_then(integer).filter(|id| *id > 0);
        Some((id("id")?, id("store_id")?))
    };
    match kind {
        "any" => true,
        "absent" => got.is_none(),
        "some" => got.is_some(),
        "pos" => as_number.is_some_and(|n| n > 0.0),
        "nat" => got.is_none() || as_number.is_some_and(|n| n >= 0.0),
        "num" => got.is_none() || as_number.is_some(),
        "str" => text.is_some_and(|text| !text.is_empty()),
        "ms" => whole.is_some_and(|n| n > 1 << 30),
        "unix" => whole.is_some_and(|n| n > 1 << 30 && n < 1 << 40),
        "rev" => {
            let revisions = env.0.iter().filter(|(name, _)| name.starts_with("rev"));
            let least = revisions.filter_map(|(_, value)| integer(value)).max().unwrap_or(1);
            whole.is_some_and(|n| n >= least.max(1))
        }
        "ttl" => whole.is_some_and(|n| n <= bound() && n >= bound() - 5),
        "ge" => whole.unwrap_or(0) >= bound(),
        "le" => whole.unwrap_or(0) <= bound(),
        "re" => {
            let pattern = env.text(argument);
            let anchored = pattern.strip_prefix('^').expect("patterns begin with ^");
            assert!(
                !anchored.replace(".*", "").contains(['*', '[', '(', '+', '|']),
                "beyond this matcher: {pattern}"
            );
            text.is_some_and(|text| parts_in_order(&anchored.split(".*").collect::<Vec<_>>(), text, false))
        }
        "list" => got.is_some_and(Value::is_array),
        "peer" => got.and_then(peer).is_some(),
        "peers" => got.and_then(Value::as_array).is_some_and(|peers| {
            let all: Option<Vec<_>> = peers.iter().map(peer).collect();
            let distinct = |mut ids: Vec<i128>| {
                let count = ids.len();
                ids.sort_unstable();
                ids.dedup();
                count > 0 && ids.len() == count
            };
            all.is_some_and(|all| {
                distinct(all.iter().map(|peer| peer.0).collect())
                    && distinct(all.iter().map(|peer| peer.1).collect())
            })
        }),
        other => panic!("unknown matcher {other}"),
    }
}

/// A list contains some elements and lacks others, in any order.
fn has(want: &Map<String, Value>, got: Option<&Value>, env: &mut Env, path: &str, out: &mut Vec<String>) {
    let Some(Value::Array(there)) = got else {
        return out.push(format!("{path}: want a list, got {}", short(got)));
    };
    let list = |name: &str| want.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    for wanted in list("$has") {
        let found = there.iter().find_map(|element| {
            let (mut trial, mut with) = (Vec::new(), env.clone());
            compare(&wanted, Some(element), &mut with, path, &mut trial);
            trial.is_empty().then_some(with)
        });
        match found {
            Some(with) => *env = with,
            None => out.push(format!("{path}: no element like {wanted}")),
        }
    }
    for unwanted in list("$hasnt") {
        for element in there {
            let mut trial = Vec::new();
            compare(&unwanted, Some(element), &mut env.clone(), path, &mut trial);
            if trial.is_empty() {
                out.push(format!("{path}: has {element}, which must be absent"));
            }
        }
    }
}

fn compare_object(
    want: &Map<String, Value>,
    got: Option<&Value>,
    env: &mut Env,
    path: &str,
    out: &mut Vec<String>,
) {
    let Some(Value::Object(got)) = got else {
        return out.push(format!("{path}: want an object, got {}", short(got)));
    };
    let mut wanted = BTreeMap::new();
    for (key, value) in want.iter().filter(|(key, _)| *key != "$part") {
        let bound = symbol(key).and_then(|symbol| env.value(symbol));
        wanted.insert(bound.map_or_else(|| env.text(key), |value| value.to_string()), value);
    }
    for (key, value) in wanted.iter().filter(|(key, _)| !IGNORED.contains(&key.as_str())) {
        let path = format!("{path}.{key}");
        let composite =
            value.is_array() || value.as_object().is_some_and(|fields| !fields.contains_key("$has"));
        if composite && !got.contains_key(key) {
            out.push(format!("{path}: missing, want {value}"));
        } else {
            compare(value, got.get(key), env, &path, out);
        }
    }
    if want.contains_key("$part") {
        return;
    }
    let unexpected =
        got.iter().filter(|(key, _)| !wanted.contains_key(*key) && !IGNORED.contains(&key.as_str()));
    out.extend(unexpected.map(|(key, value)| format!("{path}.{key}: unexpected {value}")));
}

fn short(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    text.chars().take(400).collect()
}

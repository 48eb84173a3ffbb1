//! Configurations in files, such as TOML: the options of the table by their names, sections as tables.

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_core::ser::{Serialize, SerializeMap, Serializer};

use super::options::OPTIONS;
use super::{Config, ConfigBuilder, ConfigOption};

/// A value of a file.
enum Given {
    Text(String),
    Section(Vec<(String, Self)>),
    /// A list, or nothing: no option has these.
    Other,
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("options of a TiKV client")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Given, E> {
        Ok(Given::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Given, E> {
        Ok(Given::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Given, E> {
        Ok(Given::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Given, E> {
        Ok(Given::Text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Given, E> {
        Ok(Given::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Given, E> {
        Ok(Given::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Given, E> {
        Ok(Given::Other)
    }

    fn visit_none<E>(self) -> Result<Given, E> {
        Ok(Given::Other)
    }

    fn visit_seq<A: serde_core::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Given, A::Error> {
        while seq.next_element::<Given>()?.is_some() {}
        Ok(Given::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        let mut section = Vec::new();
        while let Some(entry) = map.next_entry()? {
            section.push(entry);
        }
        Ok(Given::Section(section))
    }
}

/// Gives the builder what is under `name`; sections have no sections within them.
fn give(builder: &mut ConfigBuilder, name: &str, given: &Given) {
    match given {
        Given::Text(text) => builder.set(ConfigOption::named(name), name, text),
        Given::Section(entries) if !name.contains('.') => {
            for (inner, given) in entries {
                give(builder, &format!("{name}.{inner}"), given);
            }
        }
        Given::Section(_) | Given::Other => builder.fault(name, "is no option of one value"),
    }
}

/// Options that are not given have their default. All that is wrong is told at once, with what
/// [`Config::validate`] finds.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut builder = Self::builder();
        match Given::deserialize(from)? {
            Given::Section(entries) => {
                for (name, given) in &entries {
                    give(&mut builder, name, given);
                }
            }
            Given::Text(_) | Given::Other => return Err(D::Error::custom("options have names")),
        }
        builder.build().map_err(D::Error::custom)
    }
}

/// A section of the table with what is shown of it.
struct Section<'a>(&'static str, &'a Config);

impl Section<'_> {
    /// The options of the section, by their names within it.
    fn options(&self) -> impl Iterator<Item = (&'static str, String)> {
        OPTIONS.iter().filter_map(|option| {
            let (section, name) = option.name.rsplit_once('.').unwrap_or(("", option.name));
            if section == self.0 { Some((name, option.value(self.1)?)) } else { None }
        })
    }
}

impl Serialize for Section<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (name, value) in self.options() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

/// Every option with its value, but for certificates and keys in memory, which do not go into files and logs by accident; where
/// they lie in files is written. A recorder, which is no text, is left out, too.
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut sections: Vec<&'static str> =
            OPTIONS.iter().filter_map(|option| Some(option.name.rsplit_once('.')?.0)).collect();
        sections.dedup();
        let mut map = to.serialize_map(None)?;
        // Sections stand behind: what follows one in TOML would belong to it.
        for (name, value) in Section("", self).options() {
            map.serialize_entry(name, &value)?;
        }
        for name in sections {
            let section = Section(name, self);
            if section.options().next().is_some() {
                map.serialize_entry(name, &section)?;
            }
        }
        map.end()
    }
}

//! Messages as JSON, by the descriptors of the project's own schema.

use bytes::Bytes;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{FieldDescriptorProto, FileDescriptorSet};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, MethodDescriptor,
    Value as Field,
};
use serde_json::{Map, Value};

use super::value::{integer, number};

/// Fields that the schema of this project leaves out, and that scenarios set: file, message, field, number, type.
const LEFT_OUT: [(&str, &str, &str, i32, Type); 1] =
    [("pdpb.proto", "ScatterRegionRequest", "region_id", 2, Type::Uint64)];

/// Files with the services of PD.
const ROOTS: [&str; 5] =
    ["pdpb.proto", "keyspacepb.proto", "meta_storagepb.proto", "resource_manager.proto", "tsopb.proto"];

/// The services and messages.
#[derive(Debug)]
pub(crate) struct Schema(DescriptorPool);

impl Schema {
    pub(crate) fn load() -> Self {
        let folder = format!("{}/../../proto/protos", env!("CARGO_MANIFEST_DIR"));
        let mut files = protox::compile(ROOTS, [folder]).expect("the schema compiles");
        LEFT_OUT.iter().for_each(|left_out| add(&mut files, left_out));
        Self(DescriptorPool::from_file_descriptor_set(files).expect("the schema links"))
    }

    /// The method `Service/Method`, the service by its simple or full name.
    pub(crate) fn method(&self, name: &str) -> MethodDescriptor {
        let (service, method) = name.rsplit_once('/').expect("Service/Method");
        let mut services = self.0.services();
        let found = services
            .find(|known| known.full_name() == service)
            .or_else(|| self.0.services().find(|known| known.name() == service));
        let methods = found.unwrap_or_else(|| panic!("no service {service}"));
        let method = methods.methods().find(|known| known.name() == method);
        method.unwrap_or_else(|| panic!("no method {name}"))
    }
}

fn add(files: &mut FileDescriptorSet, (file, message, name, tag, kind): &(&str, &str, &str, i32, Type)) {
    let file = files.file.iter_mut().find(|known| known.name() == *file).expect("the file is there");
    let message =
        file.message_type.iter_mut().find(|known| known.name() == *message).expect("the message is there");
    message.reserved_range.retain(|range| !(range.start()..range.end()).contains(tag));
    message.reserved_name.retain(|reserved| reserved != name);
    message.field.push(FieldDescriptorProto {
        name: Some((*name).to_owned()),
        number: Some(*tag),
        label: Some(Label::Optional.into()),
        r#type: Some((*kind).into()),
        ..Default::default()
    });
}

/// The memory-comparable form: groups of 8, zero-filled, each followed by 0xff less the fill.
fn memcomparable(key: &[u8]) -> Vec<u8> {
    tikv_embedded::model::key::encode(key).to_vec()
}

fn printable(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| (32..127).contains(byte))
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{:x}", Bytes::copy_from_slice(bytes))
}

fn bytes_out(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if printable(bytes) && !["0x", "mc(", "$", "~"].iter().any(|special| text.starts_with(special)) {
        return text;
    }
    match tikv_embedded::model::key::decode(bytes).filter(|key| printable(key)) {
        Some(key) => format!("mc({})", String::from_utf8_lossy(&key)),
        None => hex(bytes),
    }
}

fn bytes_in(text: &str) -> Bytes {
    if let Some(key) = text.strip_prefix("mc(").and_then(|rest| rest.strip_suffix(')')) {
        return memcomparable(key.as_bytes()).into();
    }
    match text.strip_prefix("0x") {
        Some(digits) => (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hexadecimal"))
            .collect(),
        None => Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// A message as JSON: 64-bit integers are numbers, enums are names, fields without a value are absent.
pub(crate) fn to_json(message: &DynamicMessage) -> Value {
    let fields =
        message.fields().map(|(field, value)| (field.name().to_owned(), field_out(&field.kind(), value)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn field_out(kind: &Kind, value: &Field) -> Value {
    match value {
        Field::Bool(value) => (*value).into(),
        Field::I32(value) => (*value).into(),
        Field::I64(value) => (*value).into(),
        Field::U32(value) => (*value).into(),
        Field::U64(value) => (*value).into(),
        Field::F32(value) => (*value).into(),
        Field::F64(value) => (*value).into(),
        Field::String(value) => value.as_str().into(),
        Field::Bytes(value) => bytes_out(value).into(),
        Field::EnumNumber(value) => {
            let named = kind.as_enum().and_then(|kind| kind.get_value(*value));
            named.map_or_else(|| (*value).into(), |named| named.name().into())
        }
        Field::Message(message) => to_json(message),
        Field::List(items) => items.iter().map(|item| field_out(kind, item)).collect(),
        Field::Map(entries) => {
            let entry = kind.as_message().expect("a map's entry");
            let of = entry.map_entry_value_field().kind();
            let key = |key: &MapKey| match key {
                MapKey::Bool(key) => key.to_string(),
                MapKey::I32(key) => key.to_string(),
                MapKey::I64(key) => key.to_string(),
                MapKey::U32(key) => key.to_string(),
                MapKey::U64(key) => key.to_string(),
                MapKey::String(key) => key.clone(),
            };
            entries.iter().map(|(at, value)| (key(at), field_out(&of, value))).collect()
        }
    }
}

/// The message that JSON describes.
pub(crate) fn from_json(descriptor: MessageDescriptor, json: &Value) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, value) in json.as_object().expect("a message is an object") {
        let field = descriptor.get_field_by_name(name);
        let field = field.unwrap_or_else(|| panic!("{} has no field {name}", descriptor.full_name()));
        message.set_field(&field, field_in(&field, value));
    }
    message
}

fn field_in(field: &FieldDescriptor, value: &Value) -> Field {
    let kind = field.kind();
    if field.is_map() {
        let entry = kind.as_message().expect("a map's entry").clone();
        let entries = value.as_object().expect("a map is an object").iter();
        let of = entry.map_entry_value_field().kind();
        return Field::Map(
            entries.map(|(key, value)| (MapKey::String(key.clone()), scalar_in(&of, value))).collect(),
        );
    }
    if field.is_list() {
        let items = value.as_array().expect("a list");
        return Field::List(items.iter().map(|item| scalar_in(&kind, item)).collect());
    }
    scalar_in(&kind, value)
}

fn scalar_in(kind: &Kind, value: &Value) -> Field {
    let whole = || integer(value).unwrap_or_else(|| panic!("{value} is no integer"));
    let text = || value.as_str().unwrap_or_else(|| panic!("{value} is no text"));
    match kind {
        Kind::Double => Field::F64(value.as_f64().expect("a number")),
        Kind::Float => Field::F32(value.as_f64().expect("a number") as f32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Field::I32(i32::try_from(whole()).expect("32 bits")),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Field::I64(i64::try_from(whole()).expect("64 bits")),
        Kind::Uint32 | Kind::Fixed32 => Field::U32(u32::try_from(whole()).expect("32 bits")),
        Kind::Uint64 | Kind::Fixed64 => Field::U64(u64::try_from(whole()).expect("64 bits")),
        Kind::Bool => Field::Bool(value.as_bool().expect("a boolean")),
        Kind::String => Field::String(text().to_owned()),
        Kind::Bytes => Field::Bytes(bytes_in(text())),
        Kind::Message(descriptor) => Field::Message(from_json(descriptor.clone(), value)),
        Kind::Enum(of) => match value.as_str() {
            Some(name) => {
                Field::EnumNumber(of.get_value_by_name(name).expect("a value of the enum").number())
            }
            None => Field::EnumNumber(i32::try_from(whole()).expect("32 bits")),
        },
    }
}

/// The timestamp in a message's JSON as one number.
pub(crate) fn timestamp(value: &Value) -> Option<Value> {
    let part = |name| value.get(name).and_then(integer).unwrap_or(0);
    value.is_object().then(|| number((part("physical") << 18) + part("logical")))
}

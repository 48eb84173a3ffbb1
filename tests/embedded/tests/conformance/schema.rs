//! The messages by the names of their fields: from this project's own `.proto` files.

use std::path::Path;
use std::sync::OnceLock;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage,
};
use serde_json::{Map, Value as Json};

use crate::names::Names;

/// Fields of `SplitRegion` that the project's schema leaves out, as nobody should use them any more.
const SPLIT: &str = r#"
syntax = "proto3";
package conformance;
import "errorpb.proto";
import "kvrpcpb.proto";
import "metapb.proto";
message SplitRegionRequest {
  kvrpcpb.Context context = 1;
  bytes split_key = 2;
  repeated bytes split_keys = 3;
  bool is_raw_kv = 4;
}
message SplitRegionResponse {
  errorpb.Error region_error = 1;
  metapb.Region left = 2;
  metapb.Region right = 3;
  repeated metapb.Region regions = 4;
}
"#;

/// The messages, compiled once.
pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/protos");
        let mut resolver = protox::file::ChainFileResolver::new();
        resolver.add(protox::file::IncludeFileResolver::new(protos));
        resolver.add(Extra);
        let mut compiler = protox::Compiler::with_file_resolver(resolver);
        for file in ["tikvpb.proto", "conformance.proto"] {
            compiler.open_file(file).unwrap();
        }
        compiler.descriptor_pool()
    })
}

/// The file of [`SPLIT`].
#[derive(Debug)]
struct Extra;

impl protox::file::FileResolver for Extra {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        if name == "conformance.proto" {
            protox::file::File::from_source(name, SPLIT)
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}

/// The messages of a store's method.
pub(crate) fn method(rpc: &str) -> (MessageDescriptor, MessageDescriptor) {
    if rpc == "SplitRegion" {
        let named = |name: &str| pool().get_message_by_name(&format!("conformance.{name}")).unwrap();
        return (named("SplitRegionRequest"), named("SplitRegionResponse"));
    }
    let service = pool().get_service_by_name("tikvpb.Tikv").unwrap();
    let found = service.methods().find(|method| method.name() == rpc);
    let method = found.unwrap_or_else(|| panic!("no method {rpc}"));
    (method.input(), method.output())
}

/// Sets the fields of a message from their form in a scenario.
pub(crate) fn fill(message: &mut DynamicMessage, tree: &Map<String, Json>, names: &mut Names) {
    for (name, value) in tree {
        let field = message.descriptor().get_field_by_name(name);
        let field = field.unwrap_or_else(|| panic!("{} has no {name}", message.descriptor().full_name()));
        let scalar = prost_reflect::Value::I32(0);
        let filled = if field.is_list() {
            let items = value.as_array().unwrap();
            prost_reflect::Value::List(items.iter().map(|item| read(&field, item, None, names)).collect())
        } else {
            let old = if field.kind().as_message().is_some() {
                message.get_field(&field).into_owned()
            } else {
                scalar
            };
            read(&field, value, Some(old), names)
        };
        message.set_field(&field, filled);
    }
}

fn read(
    field: &FieldDescriptor,
    json: &Json,
    old: Option<prost_reflect::Value>,
    names: &mut Names,
) -> prost_reflect::Value {
    use prost_reflect::Value;
    match field.kind() {
        Kind::Message(descriptor) => {
            let mut message = match old {
                Some(Value::Message(message)) => message,
                _ => DynamicMessage::new(descriptor),
            };
            fill(&mut message, json.as_object().unwrap(), names);
            Value::Message(message)
        }
        Kind::Bytes => Value::Bytes(names.bytes_in(json.as_str().unwrap()).into()),
        Kind::String => Value::String(json.as_str().unwrap().to_owned()),
        Kind::Bool => Value::Bool(json.as_bool().unwrap()),
        Kind::Enum(kind) => Value::EnumNumber(match json.as_str() {
            Some(name) => kind.get_value_by_name(name).unwrap_or_else(|| panic!("no {name}")).number(),
            None => i32::try_from(json.as_i64().unwrap()).unwrap(),
        }),
        kind => {
            let number = names.number_in(json);
            match kind {
                Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::try_from(number).unwrap()),
                Kind::Uint32 | Kind::Fixed32 => Value::U32(u32::try_from(number).unwrap()),
                Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::try_from(number).unwrap()),
                Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(i32::try_from(number).unwrap()),
                other => panic!("no scenario has a field of kind {other:?}"),
            }
        }
    }
}

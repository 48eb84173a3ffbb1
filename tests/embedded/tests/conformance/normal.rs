//! An answer in the form in which it was recorded: what differs from run to run is taken out.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use serde_json::{Map, Value as Json, json};

use crate::names::Names;

const LEFT_OUT: [&str; 10] = [
    "exec_details_v2",
    "exec_details",
    "key_hash",
    "deadlock_key_hash",
    "wait_time",
    "health_feedback",
    "safe_ts",
    "transport_layer_load",
    "tikv_send_time_ns",
    "latest_buckets_version",
];
/// Recorded, but not promised by a server that keeps no such hints.
const OPTIONAL: [&str; 2] = ["last_change_ts", "versions_to_last_change"];
const PRESENCE: [&str; 3] = ["retryable", "debug_info", "duration_to_last_update_ms"];
const IDS: [&str; 8] = [
    "region_id",
    "store_id",
    "request_store_id",
    "actual_store_id",
    "peer_id",
    "request_peer_id",
    "store_peer_id",
    "id",
];
const FIXED_TEXT: [&str; 5] = [
    "Deadline is exceeded",
    "invalid max_ts update",
    "deadline is exceeded",
    "scheduler is busy",
    "gc worker is busy",
];
/// Names of errors that an abort text can carry. At one place the first that fits is taken.
const ABORT: [&str; 28] = [
    "LockTsMismatch",
    "LockMissingAmendFail",
    "LockForUpdateTsMismatch",
    "NonLockKeyConflict",
    "FileNotFound",
    "PessimisticLockRolledBack",
    "LockTypeNotMatch",
    "KeyTooLarge",
    "max key size exceeded",
    "InvalidTxnTso",
    "Invalid transaction tso",
    "Committed",
    "LockIfExistsFailed",
    "ApiVersionNotMatched",
    "InvalidKeyMode",
    "InvalidReqRange",
    "InvalidKeyRangeMode",
    "InvalidCf",
    "Invalid KeyRanges",
    "is out of",
    "DefaultNotFound",
    "GenerationOutOfOrder",
    "KeyVersion",
    "BadFormat",
    "use Op::SharedLock to prewrite on a shared lock",
    "Other",
    "Unknown",
    "PessimisticLockNotFound",
];

/// The fields of a message that are set, by name.
pub(crate) fn normal(message: &DynamicMessage, names: &mut Names) -> Json {
    let mut out = Map::new();
    for (field, value) in message.fields() {
        let name = field.name();
        // A default field that was set all the same says nothing.
        if LEFT_OUT.contains(&name)
            || OPTIONAL.contains(&name)
            || (!field.supports_presence() && !message.has_field(&field))
        {
            continue;
        }
        let told = match value {
            _ if PRESENCE.contains(&name) => json!("*"),
            Value::Message(error) if name == "region_error" => region_error(error, names),
            Value::String(text) if name == "abort" => abort(text),
            Value::List(items) => {
                let mut told: Vec<Json> = items.iter().map(|item| one(&field, item, names)).collect();
                if name == "shared_lock_infos" {
                    told.sort_by_key(Json::to_string);
                }
                Json::Array(told)
            }
            value => one(&field, value, names),
        };
        out.insert(name.to_owned(), told);
    }
    Json::Object(out)
}

fn one(field: &FieldDescriptor, value: &Value, names: &mut Names) -> Json {
    match value {
        Value::Message(region) if region.descriptor().name() == "Region" => region_out(region, names),
        Value::Message(message) => normal(message, names),
        Value::Bytes(bytes) => json!(names.bytes_out(bytes)),
        Value::EnumNumber(number) => match field.kind() {
            Kind::Enum(kind) => {
                kind.get_value(*number).map_or_else(|| json!(number), |value| json!(value.name()))
            }
            _ => json!(number),
        },
        Value::Bool(set) => json!(set),
        Value::String(text) => json!(text_out(text)),
        Value::U64(id) if IDS.contains(&field.name()) => json!(names.id_out(*id)),
        Value::U64(number) => names.number_out((*number).into()),
        Value::U32(number) => names.number_out((*number).into()),
        Value::I64(number) => names.number_out((*number).into()),
        Value::I32(number) => names.number_out((*number).into()),
        other => panic!("no answer has a {other:?}"),
    }
}

fn abort(text: &str) -> Json {
    let mut found: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let lower = rest.get(..rest.len().min(32)).unwrap_or_default().to_lowercase();
        let name = if lower.replace(' ', "").starts_with("pessimisticlocknotfound") {
            Some(&rest[.."PessimisticLockNotFound".len()])
        } else {
            ABORT.iter().copied().find(|name| rest.starts_with(name))
        };
        let length = name.map_or_else(|| next.len_utf8(), str::len);
        found.extend(name.filter(|name| !found.contains(name)));
        rest = &rest[length..];
    }
    if found.is_empty() { json!(["?", text_out(text)]) } else { json!(found) }
}

/// Error texts keep their words; numbers and keys in them are not compared.
fn text_out(text: &str) -> String {
    let is_list =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit() || c == ',' || c == ' ');
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(list) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(list, _)| list)
            && is_list(list)
        {
            out.push('#');
            rest = &rest[list.len() + 2..];
            continue;
        }
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if word(next) {
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            let token = &rest[..end];
            if token.len() >= 12 && token.chars().all(|c| c.is_ascii_hexdigit()) {
                out.push('#');
            } else {
                let mut in_number = false;
                for c in token.chars() {
                    if !c.is_ascii_digit() {
                        out.push(c);
                    } else if !in_number {
                        out.push('N');
                    }
                    in_number = c.is_ascii_digit();
                }
            }
            rest = &rest[end..];
            continue;
        }
        out.push(next);
        rest = &rest[next.len_utf8()..];
    }
    out.chars().take(200).collect()
}

fn bytes_of(message: &DynamicMessage, name: &str) -> Vec<u8> {
    message.get_field_by_name(name).and_then(|value| value.as_bytes().map(|bytes| bytes.to_vec())).unwrap()
}

fn number_of(message: &DynamicMessage, name: &str) -> u64 {
    message.get_field_by_name(name).and_then(|value| value.as_u64()).unwrap()
}

fn region_out(region: &DynamicMessage, names: &mut Names) -> Json {
    json!({
        "id": names.id_out(number_of(region, "id")),
        "start_key": names.bound_out(&bytes_of(region, "start_key")),
        "end_key": names.bound_out(&bytes_of(region, "end_key")),
    })
}

fn region_error(error: &DynamicMessage, names: &mut Names) -> Json {
    let mut out = Map::new();
    let mut message = String::new();
    for (field, value) in error.fields() {
        let name = field.name();
        let variant = match value {
            Value::Message(variant) => variant,
            Value::String(text) if name == "message" => {
                message.clone_from(text);
                continue;
            }
            other => panic!("no region error has a {other:?}"),
        };
        let id = |name: &str, names: &Names| json!(names.id_out(number_of(variant, name)));
        let told = match name {
            "epoch_not_match" => {
                let regions = variant.get_field_by_name("current_regions").unwrap().into_owned();
                let far = json!({"id": "#", "start_key": "*", "end_key": "*"});
                let regions = regions.as_list().unwrap().iter().filter_map(Value::as_message);
                // Neighbours outside the scenario's keys depend on the layout.
                let told = regions.map(|region| region_out(region, names)).filter(|region| *region != far);
                json!({"current_regions": told.collect::<Vec<_>>()})
            }
            "key_not_in_region" => json!({
                "key": names.bound_out(&bytes_of(variant, "key")),
                "region_id": id("region_id", names),
                "start_key": names.bound_out(&bytes_of(variant, "start_key")),
                "end_key": names.bound_out(&bytes_of(variant, "end_key")),
            }),
            "raft_entry_too_large" | "not_leader" => json!({"region_id": id("region_id", names)}),
            "data_is_not_ready" => {
                json!({"region_id": id("region_id", names), "peer_id": id("peer_id", names)})
            }
            "server_is_busy" => {
                let reason = variant.get_field_by_name("reason").unwrap().into_owned();
                json!({"reason": text_out(reason.as_str().unwrap())})
            }
            _ => normal(variant, names),
        };
        out.insert(name.to_owned(), told);
    }
    let fixed = FIXED_TEXT.iter().find(|text| message.contains(*text));
    if let Some(fixed) = fixed {
        out.insert("message".to_owned(), json!(fixed));
    } else if out.is_empty() {
        out.insert("message".to_owned(), json!(text_out(&message)));
    }
    Json::Object(out)
}

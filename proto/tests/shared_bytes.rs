//! Values are not copied: a decoded `bytes` field is a part of the buffer that was received.

use prost::Message as _;
use prost::bytes::Bytes;
use tikv_proto::kvrpcpb::{BatchGetResponse, GetResponse, KvPair};
use tikv_proto::tikvpb::BatchCommandsResponse;
use tikv_proto::tikvpb::batch_commands_response::{Response, response::Cmd};

const LARGE: usize = 64 * 1024;

fn lies_in(part: &Bytes, whole: &Bytes) -> bool {
    whole.as_ptr_range().contains(&part.as_ptr()) && part.as_ptr_range().end <= whole.as_ptr_range().end
}

#[test]
fn a_value_shares_the_received_buffer() {
    let sent = GetResponse { value: Bytes::from(vec![7; LARGE]), commit_ts: 9, ..Default::default() };
    let received = Bytes::from(sent.encode_to_vec());
    let decoded = GetResponse::decode(received.clone()).unwrap();
    assert_eq!(decoded, sent);
    assert!(lies_in(&decoded.value, &received));
    assert!(!lies_in(&sent.value, &received), "the check itself tells buffers apart");
}

#[test]
fn keys_and_values_deep_in_a_batch_frame_share_it_too() {
    let pair = |byte| KvPair {
        key: Bytes::from(vec![byte; 100]),
        value: Bytes::from(vec![byte; LARGE]),
        ..Default::default()
    };
    let answer = BatchGetResponse { pairs: vec![pair(1), pair(2)], ..Default::default() };
    let frame = BatchCommandsResponse {
        responses: vec![Response { cmd: Some(Cmd::BatchGet(answer.clone())) }],
        request_ids: vec![1],
        ..Default::default()
    };
    let received = Bytes::from(frame.encode_to_vec());
    let decoded = BatchCommandsResponse::decode(received.clone()).unwrap();
    let [Response { cmd: Some(Cmd::BatchGet(got)) }] = &decoded.responses[..] else {
        panic!("one batch get was sent, decoded: {decoded:?}");
    };
    assert_eq!(*got, answer);
    for pair in &got.pairs {
        assert!(lies_in(&pair.key, &received));
        assert!(lies_in(&pair.value, &received));
    }
}

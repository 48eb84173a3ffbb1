//! What a server says of a call: gRPC's status, or HTTP's where a proxy answered.

use std::fmt::Write as _;

use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode;

/// gRPC: `doc/statuscodes.md`.
const UNKNOWN: u8 = 2;

/// The largest code there is: `doc/statuscodes.md`, UNAUTHENTICATED.
const LARGEST: u8 = 16;

/// A call's end as the server gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Status {
    pub(super) fn is_ok(&self) -> bool {
        self.code == 0
    }

    /// The status in trailers, or in headers when the server had nothing else to say.
    ///
    /// gRPC: `doc/PROTOCOL-HTTP2.md`, Status, Status-Message.
    pub(super) fn find(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get("grpc-status")?.to_str().ok().and_then(|code| code.parse().ok());
        let code = code.filter(|&code| code <= LARGEST).unwrap_or(UNKNOWN);
        let text = headers.get("grpc-message").map_or(&b""[..], |text| text.as_bytes());
        // What is no text is told as far as it is some: it is for people.
        let message = percent_decode(text).decode_utf8_lossy().into_owned();
        Some(Self { code, message })
    }

    /// Why an answer is not gRPC's, if it is not.
    ///
    /// gRPC: `doc/http-grpc-status-mapping.md`.
    pub(super) fn of_http(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let code = match status.as_u16() {
            200 => {
                let kind = headers.get(http::header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
                let other = !kind.starts_with(b"application/grpc");
                return other.then(|| Self {
                    code: UNKNOWN,
                    message: format!("answer of type {:?}, not gRPC", String::from_utf8_lossy(kind)),
                });
            }
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => UNKNOWN,
        };
        let mut message = format!("HTTP status {}", status.as_u16());
        if let Some(reason) = status.canonical_reason() {
            // Writing to a string cannot fail.
            write!(message, " ({})", reason.to_lowercase()).unwrap_or_default();
        }
        Some(Self { code, message })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_status_has_its_message_decoded() {
        for (given, is) in
            [("plain", "plain"), ("100%25 %E2%9C%93", "100% ✓"), ("%zz %4", "%zz %4"), ("%", "%")]
        {
            let found = Status::find(&headers(&[("grpc-status", "5"), ("grpc-message", given)]));
            assert_eq!(found, Some(Status { code: 5, message: is.to_owned() }), "{given}");
        }
    }

    #[test]
    fn a_message_that_is_no_text_is_said_to_be_none() {
        let found = Status::find(&headers(&[("grpc-status", "5"), ("grpc-message", "%ff")])).unwrap();
        assert!(!found.is_ok() && !found.message.is_empty(), "{found:?}");
    }

    #[test]
    fn a_status_that_is_no_number_is_unknown() {
        for text in ["", "x", "-1", "17", "256"] {
            let found = Status::find(&headers(&[("grpc-status", text)])).unwrap();
            assert_eq!((found.code, found.is_ok()), (UNKNOWN, false), "{text}");
        }
        assert!(Status::find(&headers(&[("grpc-status", "0")])).unwrap().is_ok());
        assert_eq!(Status::find(&headers(&[])), None);
    }

    #[test]
    fn answers_that_are_not_grpc_are_told_apart() {
        let grpc = headers(&[("content-type", "application/grpc+proto")]);
        assert_eq!(Status::of_http(StatusCode::OK, &grpc), None);
        let of =
            |code: u16| Status::of_http(StatusCode::from_u16(code).unwrap(), &grpc).map(|status| status.code);
        let codes = [400, 401, 403, 404, 429, 500, 502, 503, 504, 302].map(|code| of(code).unwrap());
        assert_eq!(codes, [13, 16, 7, 12, 14, 2, 14, 14, 14, 2]);
        let html = Status::of_http(StatusCode::OK, &headers(&[("content-type", "text/html")])).unwrap();
        assert_eq!((html.code, &*html.message), (2, "answer of type \"text/html\", not gRPC"));
        let gone = Status::of_http(StatusCode::SERVICE_UNAVAILABLE, &grpc).unwrap();
        assert_eq!(gone.message, "HTTP status 503 (service unavailable)");
    }
}

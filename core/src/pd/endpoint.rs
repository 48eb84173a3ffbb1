//! Addresses of PD: as people write them, and as members announce them.

use std::net::Ipv6Addr;
use std::sync::Arc;

use crate::error::ServiceError;
use crate::machine::Address;

/// The longest address that is looked at, bytes: a host name has at most 253.
const LONGEST: usize = 300;

/// Reads addresses of PD: `host:port`, with `http://` or `https://` in front or not, IPv6 in brackets.
///
/// What is given twice is kept once, at its first place. Whether a connection is encrypted is said by the client's
/// configuration, not by the prefix.
///
/// # Errors
/// [`ServiceError::NoAddress`] when there is none, [`ServiceError::BadAddress`] for the first that is no address.
pub fn parse_endpoints(endpoints: &[impl AsRef<str>]) -> Result<Vec<Address>, ServiceError> {
    let mut parsed: Vec<Address> = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let address = parse(endpoint.as_ref()).map_err(|reason| ServiceError::BadAddress {
            address: shown(endpoint.as_ref()),
            reason: reason.into(),
        })?;
        if !parsed.contains(&address) {
            parsed.push(address);
        }
    }
    if parsed.is_empty() { Err(ServiceError::NoAddress) } else { Ok(parsed) }
}

/// The address to talk to of those a member announces: the first that is meant for connections of our kind, else the
/// first that is one.
///
/// pd: `client/pkg/utils/tlsutil`: `PickMatchedURL`.
pub(super) fn pick(urls: &[String], encrypted: bool) -> Option<Address> {
    let wanted = if encrypted { "https://" } else { "http://" };
    let matching = urls.iter().filter(|url| url.starts_with(wanted));
    matching.chain(urls).find_map(|url| parse(url).ok())
}

fn parse(given: &str) -> Result<Address, &'static str> {
    let text = given.trim();
    if text.len() > LONGEST {
        return Err("too long");
    }
    let bare = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let rest = bare.unwrap_or(text);
    if rest.contains("://") {
        return Err("neither http:// nor https://");
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or("no port; wanted host:port")?;
    match host.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
        Some(Some(inner)) if inner.parse::<Ipv6Addr>().is_ok() => {}
        Some(_) => return Err("no IPv6 address in the brackets"),
        None if host.is_empty() => return Err("no host; wanted host:port"),
        None if host.contains(':') => return Err("an IPv6 address needs brackets, as in [::1]:2379"),
        None if !host.bytes().all(is_host_byte) => {
            return Err("a host has letters, digits, '.', '-' and '_'");
        }
        None => {}
    }
    // `u16::from_str` takes a sign, which no port has.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => Ok(rest.into()),
        _ => Err("the port is no number from 1 to 65535"),
    }
}

const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

/// What was given, cut to a length that fits into an error.
fn shown(given: &str) -> Arc<str> {
    given.chars().take(LONGEST).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(given: &str) -> Result<String, String> {
        parse_endpoints(&[given]).map(|all| all[0].to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_read_with_or_without_their_scheme() {
        let table = [
            ("127.0.0.1:2379", "127.0.0.1:2379"),
            ("http://pd-0.pd:2379", "pd-0.pd:2379"),
            ("https://pd_1:2379/", "pd_1:2379"),
            (" [::1]:2379\n", "[::1]:2379"),
            ("http://[fe80::a:1]:1", "[fe80::a:1]:1"),
        ];
        for (given, address) in table {
            assert_eq!(one(given).as_deref(), Ok(address), "{given}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let table = [
            "",
            "pd",
            ":2379",
            "pd:",
            "pd:0",
            "pd:65536",
            "pd:+1",
            "::1:2379",
            "[pd]:1",
            "[::1:2379",
            "ftp://pd:1",
            "pd:1/path",
            "a,b:1",
            "user@pd:1",
            "http://https://pd:1",
        ];
        let texts: Vec<String> = table.iter().map(|given| one(given).unwrap_err()).collect();
        insta::assert_snapshot!(texts.join("\n"));
        assert_eq!(parse_endpoints(&[""; 0]), Err(ServiceError::NoAddress));
        let second = parse_endpoints(&["pd:1", "pd"]).unwrap_err();
        assert!(matches!(second, ServiceError::BadAddress { address, .. } if &*address == "pd"));
    }

    #[test]
    fn an_address_given_twice_is_kept_once() {
        let all = parse_endpoints(&["b:1", "http://a:1", "b:1", "a:1/"]).unwrap();
        assert_eq!(all.iter().map(|address| &**address).collect::<Vec<_>>(), ["b:1", "a:1"]);
    }

    #[test]
    fn a_member_is_reached_where_connections_of_our_kind_are_meant_to_go() {
        let urls = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let both = urls(&["http://a:1", "https://b:2"]);
        assert_eq!(pick(&both, false).as_deref(), Some("a:1"));
        assert_eq!(pick(&both, true).as_deref(), Some("b:2"));
        assert_eq!(pick(&urls(&["", "http://a:1"]), true).as_deref(), Some("a:1"));
        assert_eq!(pick(&urls(&["unix:///x"]), false), None);
        assert_eq!(pick(&[], false), None);
    }

    proptest! {
        #[test]
        fn whatever_is_given_is_an_address_or_an_error(given in "\\PC{0,40}") {
            if let Ok(address) = one(&given) {
                prop_assert_eq!(one(&address), Ok(address.clone()));
                prop_assert!(given.contains(&address));
            }
        }
    }
}

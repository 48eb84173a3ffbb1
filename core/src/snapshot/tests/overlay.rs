//! Own writes over a page.

use crate::snapshot::overlay::Overlay;
use crate::types::{Key, KeyRange, KvPair, Value};

fn overlay() -> Overlay {
    let writes: [(&str, Option<&str>); 4] = [("b", Some("B")), ("d", None), ("f", Some("F")), ("h", None)];
    let own =
        |(key, value): (&str, Option<&str>)| (key.into(), value.map(|value| Value::from(value.to_owned())));
    Overlay::new(writes.into_iter().map(own))
}

fn pairs(of: &[&str]) -> Vec<KvPair> {
    of.iter().map(|&key| (key, "s").into()).collect()
}

fn shown(pairs: Vec<KvPair>) -> String {
    let key = |key: Key| String::from_utf8(key.0.to_vec()).unwrap();
    let value = |value: Value| String::from_utf8(value.to_vec()).unwrap();
    pairs.into_iter().map(|pair| format!("{}={} ", key(pair.key), value(pair.value))).collect()
}

#[test]
fn writes_hide_pairs_and_come_between_them() {
    let all = overlay().lay_over(pairs(&["a", "b", "d", "e"]), None);
    assert_eq!(shown(all), "a=s b=B e=s f=F ");
}

#[test]
fn writes_behind_the_page_wait_for_the_next() {
    let mut overlay = overlay();
    let first = overlay.lay_over(pairs(&["a", "c"]), Some(&KeyRange::new("c\0", "z")));
    assert_eq!(shown(first), "a=s b=B c=s ");
    let second = overlay.lay_over(pairs(&["d", "e"]), None);
    assert_eq!(shown(second), "e=s f=F ");
}

#[test]
fn an_empty_page_still_shows_the_writes_that_it_covers() {
    let mut overlay = overlay();
    assert_eq!(shown(overlay.lay_over(vec![], Some(&KeyRange::new("c", "z")))), "b=B ");
    assert_eq!(shown(overlay.lay_over(vec![], None)), "f=F ");
}

#[test]
fn turned_round_it_goes_down() {
    let mut overlay = overlay();
    overlay.reverse();
    let first = overlay.lay_over(pairs(&["h", "g"]), Some(&KeyRange::new("a", "g")));
    assert_eq!(shown(first), "g=s ");
    assert_eq!(shown(overlay.lay_over(pairs(&["e", "b"]), None)), "f=F e=s b=B ");
}

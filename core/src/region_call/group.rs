//! Keys by region: a batch goes to each region once.

use crate::machine::Cx;
use crate::types::{Key, KeyRange, Located};

/// What goes to one region.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a region and its items")]
pub struct Group<T> {
    /// The region, as it was when the keys were grouped.
    pub to: Located,
    /// Its items, in the order in which they were given.
    pub items: Vec<T>,
}

/// Groups items by the region of their key, as far as the directory knows them.
///
/// Items must be sorted by key: then a region's items stand together, and each region is looked up once.
/// Returns the groups, and the rest that begins with the first key whose region is not known.
pub fn by_region<T>(items: Vec<T>, key: impl Fn(&T) -> &Key, cx: &Cx<'_>) -> (Vec<Group<T>>, Vec<T>) {
    let mut groups: Vec<Group<T>> = Vec::new();
    let mut span: Option<KeyRange> = None;
    let mut items = items.into_iter();
    while let Some(item) = items.next() {
        let bytes = key(&item).as_slice();
        if let (Some(group), Some(span)) = (groups.last_mut(), &span)
            && span.contains(bytes)
        {
            group.items.push(item);
            continue;
        }
        let located = cx.locate(bytes);
        span = located.and_then(|to| cx.span(to.region));
        match (located, &span) {
            (Some(to), Some(_)) => groups.push(Group { to, items: vec![item] }),
            // The directory changed between the two looks: as good as not known.
            _ => return (groups, std::iter::once(item).chain(items).collect()),
        }
    }
    (groups, Vec::new())
}

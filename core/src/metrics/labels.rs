//! Values of labels.

use std::fmt;
use std::sync::Arc;

use crate::types::StoreId;

/// The value of a label. Making one costs no text: who shows it makes it one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Label {
    /// A word.
    Word(&'static str),
    /// A store.
    Store(StoreId),
    /// Something that the client or the program has named.
    Name(Arc<str>),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Store(store) => store.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl From<&'static str> for Label {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<bool> for Label {
    fn from(yes: bool) -> Self {
        Self::Word(if yes { "true" } else { "false" })
    }
}

impl From<StoreId> for Label {
    fn from(store: StoreId) -> Self {
        Self::Store(store)
    }
}

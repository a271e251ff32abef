//! Stretches of a key index.

use std::ops::Bound;

/// A stretch of a key index: from a key on, up to a key that is not in it any more. Keys are the encoded columns, with the
/// row's number behind them where the index is not unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stretch {
    pub(crate) from: Vec<u8>,
    /// `None`: to the index's end.
    pub(crate) to: Option<Vec<u8>>,
}

impl Stretch {
    /// That of a range of keys.
    #[must_use]
    pub fn new(lower: &Bound<Vec<u8>>, upper: &Bound<Vec<u8>>) -> Self {
        let from = match lower {
            Bound::Included(key) => key.clone(),
            Bound::Excluded(key) => after(key),
            Bound::Unbounded => Vec::new(),
        };
        let to = match upper {
            Bound::Included(key) => Some(after(key)),
            Bound::Excluded(key) => Some(key.clone()),
            Bound::Unbounded => None,
        };
        Self { from, to }
    }

    /// The range of keys that it is.
    #[must_use]
    pub fn bounds(&self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        (Bound::Included(self.from.clone()), self.to.clone().map_or(Bound::Unbounded, Bound::Excluded))
    }

    /// What of it lies before a key, and that key.
    pub(crate) fn up_to(self, key: &[u8]) -> Self {
        Self { from: self.from, to: Some(after(key)) }
    }

    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.from.as_slice() <= key && is_before(key, self.to.as_deref())
    }
}

/// The key that follows a key.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

pub(crate) fn is_before(key: &[u8], end: Option<&[u8]>) -> bool {
    end.is_none_or(|end| key < end)
}

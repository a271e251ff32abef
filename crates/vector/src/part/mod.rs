//! Parts: what a collection consists of. One is growing; those that are full are frozen until they are built; the others
//! are sealed.

pub mod container;
pub mod curve;
pub mod ended;
pub mod form;
pub mod growing;
pub mod sealed;

use crate::Result;
use crate::shape::Row;

/// An entry: an id and a version.
pub type Key = (u64, u64);

/// Entries by their number in a part.
pub trait Entries {
    /// How many there are.
    fn len(&self) -> usize;

    /// The id and version of an entry.
    fn key(&self, row: u32) -> Option<Key>;

    /// Whether something newer has come after it.
    fn is_ended(&self, row: u32) -> bool;

    /// Calls `f` with the vectors of all entries, in order.
    fn each_row(&self, f: &mut dyn FnMut(u32, Row<'_>) -> Result<()>) -> Result<()>;
}

//! Arrays that lie in memory of our own or in a mapped file, and need not know which.

use nodedb_env::{Mapping, Pages};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Numbers, little-endian on disk. (Machines of the other kind would have to turn them around on opening; such a machine
/// is refused when a part is opened.)
pub struct Section<T> {
    memory: Arc<dyn Mapping>,
    /// In bytes.
    range: Range<usize>,
    kind: PhantomData<T>,
}

impl<T: bytemuck::Pod> Section<T> {
    /// A range of `memory`; `None` if it does not lie in it, or not as these numbers must.
    pub fn new(memory: &Arc<dyn Mapping>, range: Range<usize>) -> Option<Self> {
        bytemuck::try_cast_slice::<u8, T>(memory.bytes().get(range.clone())?).ok()?;
        Some(Self { memory: Arc::clone(memory), range, kind: PhantomData })
    }

    /// Numbers of our own.
    pub fn of(numbers: &[T]) -> std::io::Result<Self> {
        let bytes: &[u8] = bytemuck::cast_slice(numbers);
        Ok(Self { memory: Arc::new(Pages::copy(bytes)?), range: 0..bytes.len(), kind: PhantomData })
    }
}

impl<T: bytemuck::Pod> Deref for Section<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let bytes = self.memory.bytes().get(self.range.clone()).unwrap_or_default();
        bytemuck::try_cast_slice(bytes).unwrap_or_default()
    }
}

impl<T> Clone for Section<T> {
    fn clone(&self) -> Self {
        Self { memory: Arc::clone(&self.memory), range: self.range.clone(), kind: PhantomData }
    }
}

impl<T> fmt::Debug for Section<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section").field("range", &self.range).finish_non_exhaustive()
    }
}

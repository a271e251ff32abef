//! Memory by the page: of files that are mapped, and of our own that is large and searched at random.

use std::io;
use std::ops::{Deref, DerefMut, Range};

/// Bytes of a file that stay where they are, at an address that is a multiple of 8.
pub trait Mapping: Send + Sync {
    /// All of them.
    fn bytes(&self) -> &[u8];

    /// Asks the system to bring them into memory soon.
    fn will_need(&self) {}

    /// Says that some of them will be read here and there, so that what lies beside is not brought along.
    fn at_random(&self, _range: Range<usize>) {}
}

impl Mapping for memmap2::Mmap {
    fn bytes(&self) -> &[u8] {
        self
    }

    /// A system that does not take the advice reads the pages when they are used.
    fn will_need(&self) {
        #[cfg(unix)]
        let _ = self.advise(memmap2::Advice::WillNeed);
    }

    fn at_random(&self, range: Range<usize>) {
        #[cfg(unix)]
        let _ = self.advise_range(memmap2::Advice::Random, range.start, range.len());
    }
}

/// Memory of our own, all zeros at first; in huge pages where the system has them, since a page of 4 KiB for each
/// random access makes the processor look for pages as long as for what is in them.
#[derive(Debug)]
pub struct Pages {
    memory: Memory,
    len: usize,
}

#[derive(Debug)]
enum Memory {
    Mapped(memmap2::MmapMut),
    /// Where nothing can be mapped.
    Heap(Vec<u64>),
}

/// What is smaller than a huge page is not worth one.
const HUGE: usize = 2 << 20;

impl Pages {
    /// So many bytes.
    ///
    /// # Errors
    /// The system has not so many.
    pub fn new(len: usize) -> io::Result<Self> {
        if len < HUGE || cfg!(not(any(unix, windows))) {
            return Ok(Self { memory: Memory::Heap(vec![0; len.div_ceil(8)]), len });
        }
        let map = memmap2::MmapMut::map_anon(len)?;
        // Small pages do as well, only slower.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self { memory: Memory::Mapped(map), len })
    }

    /// A copy of `bytes`.
    ///
    /// # Errors
    /// As [`Pages::new`].
    pub fn copy(bytes: &[u8]) -> io::Result<Self> {
        let mut pages = Self::new(bytes.len())?;
        pages.copy_from_slice(bytes);
        Ok(pages)
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.memory {
            Memory::Mapped(map) => map,
            Memory::Heap(words) => bytemuck::cast_slice(words),
        };
        all.get(..self.len).unwrap_or_default()
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        let all: &mut [u8] = match &mut self.memory {
            Memory::Mapped(map) => map,
            Memory::Heap(words) => bytemuck::cast_slice_mut(words),
        };
        all.get_mut(..self.len).unwrap_or_default()
    }
}

impl Mapping for Pages {
    fn bytes(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{Files, MemoryFiles, RealFiles};

    #[test]
    fn pages_of_all_sizes_are_zeros_that_can_be_written() {
        for len in [0, 1, 7, 8, 4097, HUGE - 1, HUGE, HUGE + 3] {
            let mut pages = Pages::new(len).unwrap();
            assert!(pages.len() == len && pages.iter().all(|b| *b == 0));
            pages.fill(7);
            assert_eq!(Pages::copy(&pages).unwrap().bytes(), vec![7; len]);
        }
    }

    #[test]
    fn a_mapped_file_is_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        for files in [&RealFiles as &dyn Files, &MemoryFiles::new()] {
            files.create_dir_all(dir.path()).unwrap();
            let path = dir.path().join("f");
            files.write_atomically(&path, &bytes).unwrap();
            let map = files.map(&path).unwrap();
            map.will_need();
            map.at_random(5_000..9_000);
            assert_eq!(map.bytes(), bytes);
            assert!(files.map(&dir.path().join("g")).is_err());
        }
    }
}

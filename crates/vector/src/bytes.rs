//! Numbers as bytes, little-endian, for headers and manifests.

use crate::{Error, Result};

/// Appends numbers.
#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn u8(&mut self, n: u8) {
        self.0.push(n);
    }

    pub fn u32(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    pub fn u64(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    pub fn f32(&mut self, x: f32) {
        self.u32(x.to_bits());
    }
}

/// Takes numbers off the front.
#[derive(Debug)]
pub struct Reader<'b> {
    bytes: &'b [u8],
    /// What is read, for messages.
    what: &'static str,
}

impl<'b> Reader<'b> {
    pub const fn new(bytes: &'b [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    pub fn take(&mut self, n: usize) -> Result<&'b [u8]> {
        let (head, rest) = self.bytes.split_at_checked(n).ok_or_else(|| self.short())?;
        self.bytes = rest;
        Ok(head)
    }

    fn short(&self) -> Error {
        Error::damaged(format!("{} ends too early", self.what))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let short = self.short();
        self.take(N)?.try_into().map_err(|_| short)
    }

    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn f32(&mut self) -> Result<f32> {
        self.u32().map(f32::from_bits)
    }

    /// A number that must fit this machine.
    pub fn size(&mut self) -> Result<usize> {
        let n = self.u64()?;
        usize::try_from(n).map_err(|_| Error::damaged(format!("{} has a size of {n}", self.what)))
    }

    /// A count of things of `each` bytes that follow.
    pub fn count(&mut self, each: usize) -> Result<usize> {
        let n = self.size()?;
        if n > self.bytes.len() / each.max(1) {
            return Err(self.short());
        }
        Ok(n)
    }

    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

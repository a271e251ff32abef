//! What the standard library does not offer. The only room with `unsafe` in this crate.

use std::fs::File;
use std::io;

/// Lengthens `file` to `len` and reserves the space. Where the system or the file system cannot
/// reserve, only the length is set.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    if len <= file.metadata()?.len() {
        return Ok(());
    }
    match reserve(file, len) {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => file.set_len(len),
        done => done,
    }
}

#[cfg(target_os = "linux")]
fn reserve(file: &File, len: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let len = libc::off64_t::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    loop {
        // SAFETY: `fallocate64` takes plain numbers, no pointers; the descriptor is open, since `file`
        // is borrowed for the whole call.
        let result = unsafe { libc::fallocate64(file.as_raw_fd(), 0, 0, len) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ENOSYS | libc::EOPNOTSUPP) => return Err(io::ErrorKind::Unsupported.into()),
            _ => return Err(error),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A file as memory.
pub(crate) fn map(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: what is mapped must not be cut or written while the mapping lives. `Files::map` asks this of its callers,
    // who map only files that are whole, synced and never written again; others are kept out by the database's lock.
    unsafe { memmap2::Mmap::map(file) }
}

/// Fills `buf` with random bytes of the operating system.
#[cfg(target_os = "linux")]
pub(crate) fn random(buf: &mut [u8; 8]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of `buf`, which is borrowed mutably for the whole
    // call; any bytes are valid in it.
    let n = unsafe { libc::getrandom(buf.as_mut_ptr().cast(), buf.len(), 0) };
    if n == 8 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Fills `buf` with random bytes of the operating system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn random(_: &mut [u8; 8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

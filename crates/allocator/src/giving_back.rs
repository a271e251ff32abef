//! mimalloc with other options than its own. Sound, since every call is handed on as it is: mimalloc keeps the contract of
//! [`GlobalAlloc`], and its options are numbers that it looks at when it takes memory from the system or gives it back.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicBool, Ordering};

// Places in `mi_option_e` of mimalloc.h, which are part of its interface.
const ARENA_EAGER_COMMIT: c_int = 4;
const PURGE_DELAY: c_int = 15;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

/// mimalloc, whose options are set before it is first asked for memory.
pub struct Allocator;

static IS_SET: AtomicBool = AtomicBool::new(false);

#[cold]
fn set_options() {
    // SAFETY: the function is that of mimalloc.h, from the library that `mimalloc` links. It stores a number and takes no
    // memory. The first allocation of a program comes before there are threads; should two come at once all the same,
    // both store the same.
    unsafe {
        mi_option_set(ARENA_EAGER_COMMIT, 0);
        mi_option_set(PURGE_DELAY, 0);
    }
    IS_SET.store(true, Ordering::Relaxed);
}

#[inline]
fn prepare() {
    if !IS_SET.load(Ordering::Relaxed) {
        set_options();
    }
}

// SAFETY: each call is handed to `MiMalloc` as it is, which keeps the contract.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        prepare();
        // SAFETY: the caller's promises are those that `MiMalloc` asks for.
        unsafe { MiMalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        prepare();
        // SAFETY: as above.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; `memory` came from `MiMalloc`.
        unsafe { MiMalloc.dealloc(memory, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { MiMalloc.realloc(memory, layout, size) }
    }
}

//! The memory allocator of NodeDB's programs: mimalloc, which is good at many small things on several threads.
//!
//! It belongs to programs, not to the library: whoever embeds the database chooses an allocator of their own. A program
//! has it once it names this crate (`use nodedb_allocator as _;`).
//!
//! Left alone, mimalloc keeps what was freed for a second and commits its arenas ahead, which a budget (`--memory`) does
//! not foresee: a sort within 512 MiB took 613 MiB, and takes some 420 MiB with the options that are set here, at the
//! same speed.

#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "an allocator, and mimalloc's options, which have no safe door")]
mod giving_back;

#[global_allocator]
static ALLOCATOR: giving_back::Allocator = giving_back::Allocator;

#[cfg(test)]
mod tests {
    #[test]
    fn memory_can_be_taken_and_given_back() {
        let kept = vec![7_u8; 1 << 20];
        for size in (0..20).map(|i| 1_usize << i) {
            let mut taken = vec![1_u8; size];
            taken.extend_from_slice(&vec![0_u8; size]);
            assert_eq!(taken.iter().map(|byte| usize::from(*byte)).sum::<usize>(), size);
        }
        assert!(kept.iter().all(|byte| *byte == 7));
    }
}

//! A database that follows from a seed, for a tool that damages files.

pub mod fill;
mod search;
mod tables;
pub mod verify;

//! The store as its callers see it.

mod faults;
mod races;
mod transactions;
mod world;

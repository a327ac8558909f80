//! The `aftersend` binary as a library: its commands, the traffic generator and the demo. Tests use the latter two.

pub mod args;
pub mod check;
pub mod classify;
mod customer;
pub mod demo;
pub mod explain;
pub mod migrate;
pub mod services;
pub mod simulate;
pub mod track;
pub mod traffic;

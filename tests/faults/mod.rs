//! What a run survives, asked as SQLite's tests ask it: every call to the system fails once, or is the last that is made.
//!
//! `interpose.c` stands between the program and the system and lets one call go wrong (`interposed`). A story is a
//! command with what was there before and what it must leave behind (`story`). After a fault the command is given
//! again, as a user would: what is there then must be the same, bit for bit, with nothing left over.
//!
//! `cargo test` takes a few places of each kind; `scripts/faults.sh` takes all of them.

mod crowd;
mod interposed;
mod kills;
mod limits;
mod stories;
mod story;
mod sweep;
mod tree;

/// A number of times: `few`, or what the variable says for the long way.
fn times(variable: &str, few: u64) -> u64 {
    std::env::var(variable).map_or(few, |many| many.parse().unwrap())
}

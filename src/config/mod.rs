//! The three configs: sections that live with their owners, composed, loaded from TOML and checked.
//!
//! Layer 6. Everything that can be known to be wrong before work starts is said here, with the file and line, the
//! `--set` or the flag it came from.

mod compare;
mod finetune;
mod load;
mod loadable;
mod pretrain;
mod schema;
#[cfg(test)]
mod tests;

pub use compare::{CompareConfig, SearchConfig};
pub use finetune::{AuditMode, FinetuneConfig};
pub use load::{Flag, Source, load, to_toml};
pub use loadable::Config;
pub use pretrain::{PretrainConfig, SCRATCH};
pub use schema::schema;

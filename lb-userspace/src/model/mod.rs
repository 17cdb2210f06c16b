//! What an operator means: the [`Spec`], and every way to write, check, change and print one.
//!
//! Pure: nothing here opens a file, asks the kernel or knows what is applied at the moment. A Spec is the
//! same whether it came from TOML, from JSON or from edits, and [`validate`](validate::validate) gives the
//! same messages for all three.
//!
//! | file | question it answers |
//! |---|---|
//! | `spec.rs` | what can be said |
//! | `word.rs` | the fixed words (schedulers, methods, ...) and what is said about a wrong one |
//! | `key.rs`, `mark.rs`, `duration.rs`, `ports.rs`, `persistence.rs`, `health.rs` | how a service, a rule of a mark, a duration, a range of ports, a netmask and a check are written |
//! | `parse/` | TOML to Spec, all errors at once |
//! | `validate/`, `address.rs` | is this Spec one a director can serve? |
//! | `edit/` | one change to a Spec |
//! | `export.rs` | Spec to TOML that parses back to the same Spec |

pub mod address;
#[cfg(test)]
pub(crate) mod arbitrary;
pub mod duration;
pub mod edit;
pub mod export;
pub mod health;
pub mod key;
pub mod mark;
pub mod parse;
pub mod persistence;
pub mod ports;
pub mod problem;
pub mod spec;
pub mod validate;
pub mod word;

pub use edit::Edit;
pub use health::{HealthSpec, Probe};
pub use key::ServiceKey;
pub use mark::MarkRule;
pub use persistence::{Netmask, Persistence};
pub use ports::PortRange;
pub use problem::Problem;
pub use spec::{DirectorSpec, RealSpec, ServiceSpec, SomeTimeouts, Spec, TimeoutSpec};
pub use word::{Helper, Method, OnRealDown, Protocol, Scheduler, SchedulerFlag};

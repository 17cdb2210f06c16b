//! The daemon's interface: HTTP/JSON over a unix socket, versioned by its path (`/v1`).
//!
//! `server` turns requests into calls of an [`Engine`](engine::Engine) and its answers into JSON; it decides
//! nothing about services. `client` is what the command line uses; `curl --unix-socket` works as well.
//! `docs/reference/openapi.json` describes every route.

pub mod client;
pub mod engine;
pub mod error;
pub mod server;
pub mod socket;
pub mod types;

/// Where the daemon listens when it is not told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/xvs/xvs.sock";

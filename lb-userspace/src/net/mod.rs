//! What the kernel knows about the network, asked over rtnetlink: links, addresses, routes, neighbours and their changes.
//!
//! This module reports and, where a caller asks for it by name, changes one thing. It never decides what should be
//! configured: that is the business of `signal` (next hops) and `realserver` (virtual addresses).
//!
//! A socket belongs to the network namespace of the thread that opened it, so a process that serves a namespace enters
//! it before it opens anything here.

pub mod address;
pub mod event;
pub mod frame;
pub mod link;
pub mod neighbour;
pub mod route;

use std::future::Future;
use std::io;
use std::time::Duration;

use futures_util::{Stream, StreamExt};

/// How long one request may take. The kernel answers within microseconds; an answer that the parser cannot read is
/// dropped inside the netlink library, and without a limit the request would wait for it for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// A request to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// No rtnetlink socket could be opened.
    #[error("cannot open a netlink socket: {0}")]
    Open(io::Error),
    /// The kernel refused the request.
    #[error("the kernel refused to {what}: {cause}")]
    Refused {
        /// What was asked, as in "list links".
        what: String,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// The socket is gone; open another one.
    #[error("the netlink socket closed while trying to {what}")]
    Closed {
        /// What was asked.
        what: String,
    },
    /// No answer, or one that could not be read.
    #[error("no usable answer from the kernel on the request to {what}: {cause}")]
    NoAnswer {
        /// What was asked.
        what: String,
        /// What came instead.
        cause: String,
    },
}

impl NetError {
    /// The kernel's error number, if it refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            NetError::Refused { cause, .. } | NetError::Open(cause) => cause.raw_os_error(),
            NetError::Closed { .. } | NetError::NoAnswer { .. } => None,
        }
    }

    fn from_rtnetlink(what: &str, error: rtnetlink::Error) -> Self {
        let what = what.to_owned();
        match error {
            rtnetlink::Error::NetlinkError(message) => NetError::Refused { what, cause: message.to_io() },
            rtnetlink::Error::RequestFailed => NetError::Closed { what },
            other => NetError::NoAnswer { what, cause: other.to_string() },
        }
    }
}

/// A socket for requests, shared by its clones. The task behind it ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
}

impl Netlink {
    /// Opens a socket in the network namespace of this thread. Needs a tokio runtime.
    pub fn open() -> Result<Self, NetError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetError::Open)?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }
}

/// Waits for the acknowledgement of a change.
async fn acknowledged(what: &str, request: impl Future<Output = Result<(), rtnetlink::Error>>) -> Result<(), NetError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(result) => result.map_err(|error| NetError::from_rtnetlink(what, error)),
        Err(_) => Err(timed_out(what)),
    }
}

/// Collects a whole dump, or fails as a whole: half a dump must not be mistaken for the state of the host.
async fn collected<T>(what: &str, dump: impl Stream<Item = Result<T, rtnetlink::Error>>) -> Result<Vec<T>, NetError> {
    let mut dump = std::pin::pin!(dump);
    let mut all = Vec::new();
    loop {
        match tokio::time::timeout(REQUEST_TIMEOUT, dump.next()).await {
            Ok(Some(Ok(item))) => all.push(item),
            Ok(Some(Err(error))) => return Err(NetError::from_rtnetlink(what, error)),
            Ok(None) => return Ok(all),
            Err(_) => return Err(timed_out(what)),
        }
    }
}

fn timed_out(what: &str) -> NetError {
    NetError::NoAnswer { what: what.to_owned(), cause: format!("nothing within {} s", REQUEST_TIMEOUT.as_secs()) }
}

//! Leaving: undo what the record says, and nothing else.

use super::change::{Host, Undone};
use super::state::{Record, Store};
use super::{DecapAttacher, Paths, RealServerError, join};
use crate::net::Netlink;

/// What a leave did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// What was undone, one line each; empty if this host had not joined.
    pub undone: Vec<String>,
    /// What was left alone because somebody else had changed it meanwhile.
    pub warnings: Vec<String>,
}

/// Undoes all joins in this network namespace. What fails stays in the record and is tried again by the next call.
pub async fn leave(paths: &Paths, decap: &dyn DecapAttacher) -> Result<Left, RealServerError> {
    let netlink = Netlink::open()?;
    let loopback = join::loopback(&netlink.links().await?)?;
    let host = Host { netlink, loopback, sysctl_root: &paths.sysctl_root, decap };
    let mut store = Store::open(&paths.state_file)?;

    let mut left = Left::default();
    let mut still = Record::default();
    let mut failed = Vec::new();
    for change in store.record().changes_to_undo() {
        match change.undo(&host).await {
            Ok(Undone::Yes) => left.undone.push(change.to_string()),
            Ok(Undone::LeftAlone(reason)) => left.warnings.push(reason),
            Err(error) => {
                change.note(&mut still);
                failed.push(error.to_string());
            }
        }
    }
    // Undone last first; a second attempt has to go in the same order.
    still.vips.reverse();
    still.decap.reverse();
    still.sysctls.reverse();
    store.save(&still)?;
    if failed.is_empty() { Ok(left) } else { Err(RealServerError::Incomplete(failed)) }
}

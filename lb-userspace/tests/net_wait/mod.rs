//! Waiting for a `watch` channel to say what a test expects.

use std::time::{Duration, Instant};

/// Waits until `check` gives something; panics with `what` and the last state after `limit`.
pub(crate) async fn wait_for<S: std::fmt::Debug + Clone, T>(
    what: &str,
    limit: Duration,
    receiver: &mut tokio::sync::watch::Receiver<S>,
    mut check: impl FnMut(&S) -> Option<T>,
) -> (T, Duration) {
    let start = Instant::now();
    loop {
        let found = check(&receiver.borrow_and_update());
        if let Some(found) = found {
            return (found, start.elapsed());
        }
        let left = limit.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, receiver.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => panic!("{what}: the task has ended"),
            Err(_) => panic!("{what}: not within {limit:?}; last seen {:?}", receiver.borrow().clone()),
        }
    }
}

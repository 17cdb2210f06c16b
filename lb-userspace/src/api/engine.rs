//! What the API asks of the daemon: the seam between HTTP and the engine.
//!
//! The server holds a handle and nothing else. Whoever implements this keeps the Spec, applies it whole or
//! not at all, and answers from the tables.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    error::EngineError,
    types::{AppliedView, ConnectionFilter, PlanView, ServiceView, StatsView, StatusView, ZeroedView},
};
use crate::model::{Edit, ServiceKey, ServiceSpec, Spec};

/// Some connections of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionPart {
    /// Each as JSON (a [`ConnectionView`](super::types::ConnectionView)) on a line of its own, with commas between.
    pub lines: Vec<u8>,
    /// Connections that match, in this part.
    pub total: u64,
    /// Connections that are listed in it.
    pub shown: u64,
}

impl ConnectionPart {
    /// Adds one that matches and is to be listed.
    pub fn push(&mut self, view: &impl Serialize) {
        if self.shown > 0 {
            self.lines.extend_from_slice(b",\n");
        }
        // Numbers, words and addresses, into memory: nothing that can fail.
        let _ = serde_json::to_writer(&mut self.lines, view);
        self.shown += 1;
    }
}

/// A cheap handle of the running engine.
pub trait Engine: Clone + Send + Sync + 'static {
    /// How the daemon is.
    fn status(&self) -> impl Future<Output = StatusView> + Send;

    /// The Spec that is applied, and its revision.
    fn spec(&self) -> impl Future<Output = (u64, Spec)> + Send;

    /// These services with their reals, as they are now. Ten thousand are asked for in parts, so that nobody waits for all of them.
    fn services(&self, of: Vec<Arc<ServiceSpec>>) -> impl Future<Output = Vec<ServiceView>> + Send;

    /// Counters of the director as a whole, and of these services.
    fn stats(&self, of: Vec<Arc<ServiceSpec>>) -> impl Future<Output = StatsView> + Send;

    /// The connections that match, in parts. Refuses a state or service it does not know, rather than showing none.
    fn connections(
        &self,
        filter: ConnectionFilter,
    ) -> impl Future<Output = Result<mpsc::Receiver<ConnectionPart>, EngineError>> + Send;

    /// Lets the counters of a service and its reals begin anew, or those of all services.
    fn zero(&self, service: Option<ServiceKey>) -> impl Future<Output = Result<ZeroedView, EngineError>> + Send;

    /// What [`apply`](Self::apply) would change.
    fn plan(&self, spec: Spec) -> impl Future<Output = Result<PlanView, EngineError>> + Send;

    /// What [`edit`](Self::edit) would change.
    fn plan_edits(&self, edits: Vec<Edit>) -> impl Future<Output = Result<PlanView, EngineError>> + Send;

    /// Applies a whole Spec or nothing. With `if_revision`, only when that revision is the one applied.
    fn apply(
        &self,
        spec: Spec,
        if_revision: Option<u64>,
    ) -> impl Future<Output = Result<AppliedView, EngineError>> + Send;

    /// Applies all edits to the Spec that is applied at that moment, or none.
    fn edit(
        &self,
        edits: Vec<Edit>,
        if_revision: Option<u64>,
    ) -> impl Future<Output = Result<AppliedView, EngineError>> + Send;
}

//! What the API asks of the daemon: the seam between HTTP and the engine.
//!
//! The server holds a handle and nothing else. Whoever implements this keeps the Spec, applies it whole or
//! not at all, and answers from the tables.

use super::{
    error::EngineError,
    types::{AppliedView, ConnectionFilter, ConnectionPage, PlanView, ServiceView, StatsView, StatusView, ZeroedView},
};
use crate::model::{Edit, ServiceKey, Spec};

/// A cheap handle of the running engine.
pub trait Engine: Clone + Send + Sync + 'static {
    /// How the daemon is.
    fn status(&self) -> impl Future<Output = StatusView> + Send;

    /// The Spec that is applied, and its revision.
    fn spec(&self) -> impl Future<Output = (u64, Spec)> + Send;

    /// Every service with its reals, in the order of the Spec.
    fn services(&self) -> impl Future<Output = Vec<ServiceView>> + Send;

    /// Every counter.
    fn stats(&self) -> impl Future<Output = StatsView> + Send;

    /// The connections that match. Refuses a state or service it does not know, rather than showing none.
    fn connections(&self, filter: ConnectionFilter)
    -> impl Future<Output = Result<ConnectionPage, EngineError>> + Send;

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

//! What should be in the tables, and the steps that bring it about: pure functions of Spec, facts and rows.
//!
//! [`scope::Scope`] says which services a change is about. [`effective::effective`] joins intent and facts into a [`effective::Desired`]; [`plan::plan`] compares it with the rows and lists
//! [`plan::Op`]s; [`apply`] hands these to the dataplane, which alone writes. [`changes::changes`] says in words what differs between
//! two Specs, for `xvs plan`.

pub mod changes;
mod companion;
pub mod effective;
pub mod plan;
mod pool;
pub(crate) mod rewrite;
mod rules;
pub mod scope;

use crate::dataplane::DataplaneError;
use crate::dataplane::tables::Tables;
use plan::Op;

/// Carries out a plan. The caller has compared [`plan::needed`] with the room there is.
pub fn apply(tables: &mut Tables, ops: &[Op]) -> Result<(), DataplaneError> {
    ops.iter().try_for_each(|op| carry_out(tables, op.clone()))
}

/// Carries out one step.
pub fn carry_out(tables: &mut Tables, op: Op) -> Result<(), DataplaneError> {
    match op {
        Op::SetSettings(settings) => tables.set_settings(&settings),
        Op::SetLocals(locals) => tables.set_locals(&locals),
        Op::AddService(key) => tables.add_service(key)?,
        Op::SetReal { service, endpoint, real, capacity } => tables.set_real(&service, endpoint, &real, &capacity)?,
        Op::SetPool { service, pool } => tables.set_pool(&service, pool)?,
        Op::RemoveReal { service, endpoint, disposition } => tables.remove_real(&service, endpoint, disposition),
        Op::RemoveService(key) => tables.remove_service(&key),
    }
    Ok(())
}

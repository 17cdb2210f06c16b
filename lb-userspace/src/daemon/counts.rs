//! When the statistics look at the tables: after each change, every two seconds, and when somebody begins to count anew.

use super::director::Director;
use super::rates::Place;
use super::views::{real_counters, service_counters};
use crate::api::error::EngineError;
use crate::api::types::{Counters, ZeroedView};
use crate::model::{ServiceKey, ServiceSpec, Spec};
use crate::reconcile::scope::Scope;

/// Services and their reals with their counters, as they stand in the tables.
fn counted<'a>(
    director: &'a Director,
    services: impl Iterator<Item = &'a ServiceSpec> + 'a,
) -> impl Iterator<Item = (Place, Counters)> + 'a {
    services.flat_map(move |service| {
        let row = director.tables.services().get(&service.key);
        let own = ((service.key, None), service_counters(director, row));
        let reals = service.reals.iter().map(move |real| {
            let number = row.and_then(|row| row.reals.get(&real.endpoint())).copied();
            ((service.key, Some(real.endpoint())), real_counters(director, number))
        });
        std::iter::once(own).chain(reals)
    })
}

/// Services and reals that a change has brought or taken are counted, or not any more.
pub(super) fn follow(director: &mut Director, before: &Spec, scope: &Scope) {
    let places = |service: &&std::sync::Arc<ServiceSpec>| {
        let key = service.key;
        let reals: Vec<Place> = service.reals.iter().map(|real| (key, Some(real.endpoint()))).collect();
        std::iter::once((key, None)).chain(reals)
    };
    let gone = scope.before(before);
    let mut statistics = std::mem::take(&mut director.statistics);
    // A service that is new has new numbers, whose counters stand at 0.
    let known: std::collections::BTreeSet<ServiceKey> = gone.iter().map(|service| service.key).collect();
    let now = scope.services(&director.saved.spec).into_iter().map(std::sync::Arc::as_ref);
    let has_begun = statistics.has_begun();
    let now = now.filter(|service| !has_begun || known.contains(&service.key));
    statistics.follow(gone.iter().flat_map(places), counted(director, now));
    director.statistics = statistics;
}

/// A look of the estimators. While no packet has gone to a real, or come from one, there is nothing to look at.
pub(super) fn estimate(director: &mut Director) {
    let moved = director.tables.moved();
    if std::mem::replace(&mut director.moved, moved) == moved {
        director.tables.unmap_connections();
        return director.statistics.estimate_calm();
    }
    let mut statistics = std::mem::take(&mut director.statistics);
    statistics.estimate(counted(director, director.saved.spec.services.iter().map(std::sync::Arc::as_ref)));
    director.statistics = statistics;
    director.tables.unmap();
}

/// Counts from 0, one service or all.
pub(super) fn zero(director: &mut Director, service: Option<ServiceKey>) -> Result<ZeroedView, EngineError> {
    if let Some(key) = service.filter(|key| director.saved.spec.service(key).is_none()) {
        return Err(EngineError::NotFound { what: format!("service {key} does not exist") });
    }
    let mut statistics = std::mem::take(&mut director.statistics);
    let services = director.saved.spec.services.iter().map(std::sync::Arc::as_ref);
    let asked = services.filter(|known| service.is_none_or(|key| known.key == key));
    statistics.zero(service.as_ref(), counted(director, asked));
    director.statistics = statistics;
    let all = director.saved.spec.services.len() as u64;
    Ok(ZeroedView { services: if service.is_some() { 1 } else { all } })
}

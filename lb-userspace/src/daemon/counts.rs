//! When the statistics look at the tables: after each change, every two seconds, and when somebody begins to count anew.

use super::director::Director;
use super::rates::Place;
use super::views::{real_counters, service_counters};
use crate::api::error::EngineError;
use crate::api::types::{Counters, ZeroedView};
use crate::model::ServiceKey;

/// Every service and real with its counters, as they stand in the tables.
fn places(director: &Director) -> Vec<(Place, Counters)> {
    let mut places = Vec::new();
    for service in &director.saved.spec.services {
        let row = director.tables.services().get(&service.key);
        places.push(((service.key, None), service_counters(director, row)));
        places.extend(service.reals.iter().map(|real| {
            let number = row.and_then(|row| row.reals.get(&real.endpoint())).copied();
            ((service.key, Some(real.endpoint())), real_counters(director, number))
        }));
    }
    places
}

/// New services and reals begin to be counted.
pub(super) fn follow(director: &mut Director) {
    let places = places(director);
    director.statistics.follow(places);
}

/// A change, and what it means for what is counted.
pub(super) fn followed<T>(director: &mut Director, change: impl FnOnce(&mut Director) -> T) -> T {
    let done = change(director);
    follow(director);
    done
}

/// A look of the estimators.
pub(super) fn estimate(director: &mut Director) {
    let places = places(director);
    director.statistics.estimate(places);
}

/// Counts from 0, one service or all.
pub(super) fn zero(director: &mut Director, service: Option<ServiceKey>) -> Result<ZeroedView, EngineError> {
    if let Some(key) = service.filter(|key| director.saved.spec.service(key).is_none()) {
        return Err(EngineError::NotFound { what: format!("service {key} does not exist") });
    }
    let places = places(director);
    director.statistics.zero(service.as_ref(), places);
    let all = director.saved.spec.services.len() as u64;
    Ok(ZeroedView { services: if service.is_some() { 1 } else { all } })
}

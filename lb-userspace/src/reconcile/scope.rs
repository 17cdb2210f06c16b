//! Which services a change is about, so that a change of one of ten thousand costs what one costs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::effective::{local, target};
use crate::model::{ServiceKey, ServiceSpec, Spec};
use crate::signal::neighbour::Target;

/// What has to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything, and what is in the tables besides.
    All,
    /// These services, and those that are gone.
    Some {
        /// Places in the Spec of the services that are new or changed.
        services: Vec<usize>,
        /// Places in the Spec before of those that were changed, or are gone.
        were: Vec<usize>,
        /// Services that are not in it any more.
        removed: Vec<ServiceKey>,
    },
}

impl Scope {
    /// What differs between two Specs; what they share costs a look at its address.
    pub fn between(old: &Spec, new: &Spec) -> Self {
        if old.director != new.director || old.marks != new.marks {
            return Self::All;
        }
        let pairs = || old.services.iter().zip(&new.services);
        let front = pairs().take_while(|(one, other)| Arc::ptr_eq(one, other)).count();
        let (before, after) = (&old.services[front..], &new.services[front..]);
        let back = before.iter().rev().zip(after.iter().rev()).take_while(|(one, other)| Arc::ptr_eq(one, other));
        let back = back.count();
        let (before, after) = (&before[..before.len() - back], &after[..after.len() - back]);
        let mut known: BTreeMap<ServiceKey, usize> =
            before.iter().enumerate().map(|(place, service)| (service.key, place)).collect();
        let (mut services, mut were) = (Vec::new(), Vec::new());
        let mut has_new = false;
        for (index, service) in after.iter().enumerate() {
            let was = known.remove(&service.key);
            has_new |= was.is_none();
            if was.is_none_or(|place| before[place] != *service) {
                services.push(front + index);
                were.extend(was.map(|place| front + place));
            }
        }
        were.extend(known.values().map(|place| front + place));
        let removed: Vec<ServiceKey> = known.into_keys().collect();
        // A service takes its port out of a mark's rule, and gives it back.
        if (has_new || !removed.is_empty()) && !new.marks.is_empty() {
            return Self::All;
        }
        Self::Some { services, were, removed }
    }

    /// The services whose reals are reached another way than before.
    pub fn of_ways(spec: &Spec, changed: &BTreeSet<Target>) -> Self {
        if spec.director.local_addresses.iter().any(|address| changed.contains(&local(*address))) {
            return Self::All;
        }
        Self::of(spec, |service| service.reals.iter().any(|real| changed.contains(&target(service, real))))
    }

    /// The services with a health check.
    pub fn of_checks(spec: &Spec) -> Self {
        Self::of(spec, |service| service.health.is_some())
    }

    fn of(spec: &Spec, is_in: impl Fn(&ServiceSpec) -> bool) -> Self {
        let places = spec.services.iter().enumerate().filter(|(_, service)| is_in(service));
        Self::Some { services: places.map(|(index, _)| index).collect(), were: Vec::new(), removed: Vec::new() }
    }

    /// Services of the Spec before that were changed, or are gone; all of them where everything is looked at.
    pub fn before<'a>(&self, old: &'a Spec) -> Vec<&'a Arc<ServiceSpec>> {
        match self {
            Self::All => old.services.iter().collect(),
            Self::Some { were, .. } => were.iter().filter_map(|index| old.services.get(*index)).collect(),
        }
    }

    /// The services of a Spec that are in it.
    pub fn services<'a>(&self, spec: &'a Spec) -> Vec<&'a Arc<ServiceSpec>> {
        match self {
            Self::All => spec.services.iter().collect(),
            Self::Some { services, .. } => services.iter().filter_map(|index| spec.services.get(*index)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse::parse;

    fn service(port: u16, weight: u32) -> String {
        format!(
            "[[service]]\naddress = \"10.0.0.1:{port}\"\n[[service.real]]\naddress = \"10.0.1.1\"\nweight = {weight}\n"
        )
    }

    fn spec(services: &[(u16, u32)]) -> Spec {
        parse(services.iter().map(|(port, weight)| service(*port, *weight)).collect::<String>().as_bytes()).unwrap()
    }

    fn some(services: &[usize], were: &[usize], removed: &[u16]) -> Scope {
        let key = |port: &u16| format!("tcp://10.0.0.1:{port}").parse().unwrap();
        Scope::Some { services: services.to_vec(), were: were.to_vec(), removed: removed.iter().map(key).collect() }
    }

    #[test]
    fn what_differs_is_found_whether_shared_or_not() {
        let old = spec(&[(1, 1), (2, 1), (3, 1), (4, 1)]);
        assert_eq!(Scope::between(&old, &old.clone()), some(&[], &[], &[]));
        assert_eq!(
            Scope::between(&old, &spec(&[(1, 1), (2, 1), (3, 1), (4, 1)])),
            some(&[], &[], &[]),
            "equal, not shared"
        );
        let mut new = old.clone();
        new.service_mut(2).reals[0].weight = 7;
        assert_eq!(Scope::between(&old, &new), some(&[2], &[2], &[]));
        new.services.remove(1);
        assert_eq!(Scope::between(&old, &new), some(&[1], &[2, 1], &[2]), "places are the new Spec's");
        new.services.reverse();
        assert_eq!(
            Scope::between(&old, &new),
            some(&[1], &[2, 1], &[2]),
            "order of services means nothing to the tables"
        );
        assert_eq!(Scope::between(&old, &spec(&[(5, 1), (4, 1), (1, 2)])), some(&[0, 2], &[0, 1, 2], &[2, 3]));
        assert_eq!(Scope::between(&Spec::default(), &old), some(&[0, 1, 2, 3], &[], &[]));
    }

    #[test]
    fn director_and_marks_touch_all() {
        let old = spec(&[(1, 1)]);
        let mut new = old.clone();
        new.director.sloppy_tcp = true;
        assert_eq!(Scope::between(&old, &new), Scope::All);
        let rule = "[[mark]]\nmark = 1\naddress = \"10.0.0.1:1-9\"\n";
        let marked = |text: &str| parse(format!("{rule}{text}").as_bytes()).unwrap();
        assert_eq!(Scope::between(&marked(""), &marked(&service(1, 1))), Scope::All, "a port less for the rule");
        assert_eq!(Scope::between(&marked(&service(1, 1)), &marked(&service(1, 2))), some(&[0], &[0], &[]));
    }

    #[test]
    fn a_way_touches_the_services_that_use_it() {
        let spec = parse(
            b"[[service]]\naddress = \"10.0.0.1:1\"\n[[service.real]]\naddress = \"10.0.1.1\"\n\
              [[service]]\naddress = \"10.0.0.1:2\"\nhealth = { type = \"tcp\" }\n[[service.real]]\naddress = \"10.0.1.2\"\n",
        )
        .unwrap();
        let changed = BTreeSet::from([Target { address: [10, 0, 1, 2].into(), on_link: true }]);
        assert_eq!(Scope::of_ways(&spec, &changed), some(&[1], &[], &[]));
        assert_eq!(Scope::of_checks(&spec), some(&[1], &[], &[]));
    }
}

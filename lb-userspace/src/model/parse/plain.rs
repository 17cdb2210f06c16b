//! Large configurations, part by part: a document of a million tables takes seconds and gigabytes.
//!
//! A text is cut at the lines `[[service]]`, the parts are read by themselves, by all CPUs, and of a part the tables `[[service.real]]`
//! that are written as everybody writes them without a document at all. Whatever is not so simple, and any text with a problem, is none of
//! this module's business: it says nothing, and the whole is read as one document, which alone tells problems and where they stand.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use toml_edit::Document;

use super::shape;
use crate::model::key::parse_real;
use crate::model::spec::{DEFAULT_WEIGHT, RealSpec, ServiceSpec, Spec};
use crate::model::validate;

const SERVICE: &str = "[[service]]";
const REAL: &str = "[[service.real]]";
/// Below this a document is as fast.
const LARGE: usize = 1 << 16;

/// Reads a text that is large and simple. None says nothing about it.
pub(super) fn parse(text: &str) -> Option<Spec> {
    if text.len() < LARGE { None } else { read(text) }
}

fn read(text: &str) -> Option<Spec> {
    // Strings over several lines may hold anything at the begin of a line.
    if text.contains("\"\"\"") || text.contains("'''") {
        return None;
    }
    let starts = starts(text);
    let first = *starts.first()?;
    let mut spec = head(&text[..first])?;
    let parts: Vec<Range<usize>> =
        starts.iter().zip(starts.iter().skip(1).chain([&text.len()])).map(|(from, to)| *from..*to).collect();
    spec.services = services(text, &parts)?;
    validate::validate(&spec).is_empty().then_some(spec)
}

/// Where lines begin that are `[[service]]` alone.
fn starts(text: &str) -> Vec<usize> {
    let is_header = |at: &usize| {
        let line = text[*at..].split('\n').next().unwrap_or_default();
        (*at == 0 || text.as_bytes()[at - 1] == b'\n') && line.trim_end_matches([' ', '\t', '\r']) == SERVICE
    };
    text.match_indices(SERVICE).map(|(at, _)| at).filter(is_header).collect()
}

/// What stands before the services.
fn head(text: &str) -> Option<Spec> {
    let document = Document::parse(text).ok()?;
    let (spec, unread) = shape::read(document.as_table());
    (unread.is_empty() && !document.contains_key("service")).then_some(spec)
}

/// The parts' services, each by whoever is free.
fn services(text: &str, parts: &[Range<usize>]) -> Option<Vec<Arc<ServiceSpec>>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(at) else { return Some(done) };
            let Some(service) = service(&text[part.clone()]) else {
                // Nobody needs the others any more.
                next.store(parts.len(), Ordering::Relaxed);
                return None;
            };
            done.push((at, Arc::new(service)));
        }
    };
    let helpers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) - 1;
    let mut all = std::thread::scope(|scope| {
        let helping: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
        let mut all = work()?;
        for helper in helping {
            all.extend(helper.join().ok()??);
        }
        Some(all)
    })?;
    all.sort_unstable_by_key(|(at, _)| *at);
    (all.len() == parts.len()).then(|| all.into_iter().map(|(_, service)| service).collect())
}

/// One service: everything up to its first plain real by a document.
fn service(text: &str) -> Option<ServiceSpec> {
    let reals = text.match_indices(REAL).map(|(at, _)| at).find(|at| text.as_bytes()[at - 1] == b'\n');
    let (own, reals) = text.split_at(reals.unwrap_or(text.len()));
    let document = Document::parse(own).ok()?;
    let (spec, unread) = shape::read(document.as_table());
    let [service] = <[Arc<ServiceSpec>; 1]>::try_from(spec.services).ok()?;
    if !unread.is_empty() || document.iter().count() != 1 {
        return None;
    }
    let mut service = Arc::unwrap_or_clone(service);
    // `real = []` and `[[service.real]]` do not go together.
    let is_mixed = !reals.is_empty() && document.get("service")?.as_array_of_tables()?.get(0)?.contains_key("real");
    if is_mixed {
        return None;
    }
    service.reals.extend(plain_reals(reals, service.key.port)?);
    Some(service)
}

fn plain_reals(text: &str, service_port: u16) -> Option<Vec<RealSpec>> {
    let mut reals = Vec::with_capacity(text.len() / 48);
    let mut lines = text.split('\n').map(str::trim_ascii).filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        if line != REAL {
            return None;
        }
        let (mut address, mut weight, mut upper, mut lower) = (None, None, None, None);
        while let Some(line) = lines.next_if(|line| !line.starts_with('[')) {
            let (key, value) = line.split_once('=')?;
            let value = value.trim_ascii_start();
            match key.trim_ascii_end() {
                "address" => once(&mut address, of_text(value)?)?,
                "weight" => once(&mut weight, number(value)?)?,
                "upper_threshold" => once(&mut upper, number(value)?)?,
                "lower_threshold" => once(&mut lower, number(value)?)?,
                _ => return None,
            }
        }
        let (address, port): (IpAddr, Option<u16>) = address?;
        reals.push(RealSpec {
            weight: weight.unwrap_or(DEFAULT_WEIGHT),
            upper_threshold: upper.unwrap_or_default(),
            lower_threshold: lower.unwrap_or_default(),
            ..RealSpec::new((address, port.unwrap_or(service_port)).into())
        });
    }
    reals.shrink_to_fit();
    Some(reals)
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// `"10.0.1.1:80"`, of characters that stand for themselves.
fn of_text(value: &str) -> Option<(IpAddr, Option<u16>)> {
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'[' | b']'));
    if is_plain { parse_real(text).ok() } else { None }
}

/// A decimal number as TOML has it: no zero in front. Its range is for `validate`.
fn number(value: &str) -> Option<u32> {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit()) && (value == "0" || !value.starts_with('0'));
    if is_plain { value.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse_document;
    use super::*;
    use crate::model::arbitrary::spec;
    use crate::model::export::to_toml;

    proptest! {
        /// Whatever it reads is what the document says.
        #[test]
        fn a_part_at_a_time_is_the_whole(spec in spec()) {
            let text = to_toml(&spec);
            if let Some(read) = read(&text) {
                prop_assert_eq!(read, spec);
            }
        }

        #[test]
        fn it_says_nothing_where_the_document_says_otherwise(
            spec in spec(),
            at in any::<prop::sample::Index>(),
            with in prop::sample::select(vec![
                "\n", "[[service]]\n", "[[service.real]]\n", "\"", "#", "weight = 1\n", "=", "0", "[", "]", "'''", "\n[director]\n", "real = []\n", "\t",
            ]),
        ) {
            let mut text = to_toml(&spec);
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            if !places.is_empty() {
                text.insert_str(places[at.index(places.len())], with);
            }
            if let Some(read) = read(&text) {
                prop_assert_eq!(parse_document(&text), Ok(read));
            }
        }
    }

    #[test]
    fn large_and_usual_is_read() {
        let reals: String =
            (0..60).map(|n| format!("[[service.real]]\naddress = \"10.0.1.{n}\"\nweight = {n}\n\n")).collect();
        let services: String =
            (1..100).map(|port| format!("[[service]]\naddress = \"10.0.0.1:{port}\"\n\n{reals}")).collect();
        let text = format!("# a comment\n[director]\ninterfaces = [\"eth0\"]\n\n{services}");
        assert!(text.len() > LARGE);
        let spec = parse(&text).unwrap();
        assert_eq!((spec.services.len(), spec.services[98].reals.len()), (99, 60));
        assert_eq!(Ok(spec), parse_document(&text));
        assert_eq!(read(&text.replace("weight = 7\n", "weight = 07\n")), None, "a problem is the document's to tell");
        assert_eq!(read(&text.replace("10.0.1.7\"", "10.0.1.8\"")), None, "twice the same real");
    }
}

//! Edits in the JSON that clients send, and what is refused.

use super::*;
use crate::model::Spec;

const KEY: &str = "tcp://10.0.0.1:80";

fn edit(json: &str) -> Edit {
    serde_json::from_str(json).unwrap()
}

fn spec() -> Spec {
    let mut spec = Spec::default();
    apply(&mut spec, edit(r#"{"add_service": {"service": "tcp://10.0.0.1:80", "health": {"type": "tcp"}}}"#)).unwrap();
    let real = r#"{"add_real": {"service": "10.0.0.1:80", "real": {"address": "10.0.1.1", "port": 80}}}"#;
    apply(&mut spec, edit(real)).unwrap();
    spec
}

#[test]
fn json_edits_change_what_they_name() {
    let mut spec = spec();
    apply(&mut spec, edit(r#"{"edit_service": {"service": "10.0.0.1:80", "scheduler": "rr"}}"#)).unwrap();
    apply(&mut spec, edit(r#"{"edit_real": {"service": "10.0.0.1:80", "real": "10.0.1.1:80", "weight": 7}}"#)).unwrap();
    let service = &spec.services[0];
    assert_eq!(service.scheduler, Scheduler::Rr);
    assert!(service.health.is_some(), "absent means unchanged");
    assert_eq!(service.reals[0].weight, 7);
    apply(&mut spec, edit(r#"{"edit_service": {"service": "10.0.0.1:80", "health": null}}"#)).unwrap();
    assert!(spec.services[0].health.is_none(), "null means removed");
}

#[test]
fn an_edit_reads_back_from_its_own_json() {
    let removed = ServiceEdit {
        scheduler_flags: Some(Vec::new()),
        table_slots: Some(None),
        persistence: Some(None),
        timeouts: Some(None),
        helper: Some(None),
        health: Some(None),
        ..ServiceEdit::new(KEY.parse().unwrap())
    };
    for case in [Edit::EditService(removed), Edit::AddService(spec().services.remove(0))] {
        assert_eq!(edit(&serde_json::to_string(&case).unwrap()), case);
    }
}

#[test]
fn what_is_not_there_and_what_is_there_already_are_refused_by_name() {
    let mut spec = spec();
    let before = spec.clone();
    for (json, message) in [
        (
            r#"{"add_service": {"service": "10.0.0.1:80"}}"#,
            "service tcp://10.0.0.1:80 exists already; change it with `xvs service edit`",
        ),
        (r#"{"remove_service": {"service": "10.0.0.2:80"}}"#, "service tcp://10.0.0.2:80 does not exist"),
        (
            r#"{"add_real": {"service": "10.0.0.1:80", "real": {"address": "10.0.1.1", "port": 80}}}"#,
            "real 10.0.1.1:80 of service tcp://10.0.0.1:80 exists already; change it with `xvs real edit`",
        ),
        (
            r#"{"remove_real": {"service": "10.0.0.1:80", "real": "10.0.1.1:81"}}"#,
            "real 10.0.1.1:81 of service tcp://10.0.0.1:80 does not exist",
        ),
        (r#"{"edit_service": {"service": "10.0.0.1:80"}}"#, "nothing to change in service tcp://10.0.0.1:80"),
    ] {
        assert_eq!(apply(&mut spec, edit(json)).unwrap_err().to_string(), message);
    }
    assert_eq!(spec, before);
}

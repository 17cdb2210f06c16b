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
    for case in
        [Edit::EditService(removed), Edit::AddService(std::sync::Arc::unwrap_or_clone(spec().services.remove(0)))]
    {
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

#[test]
fn what_lvs_users_know_is_edited() {
    let mut spec = spec();
    let mut make = |json: &str| apply(&mut spec, edit(json)).map(|()| spec.clone()).map_err(|error| error.to_string());
    make(r#"{"add_service": {"service": "mark://1", "scheduler": "sh", "scheduler_flags": ["flag-2", "flag-3"]}}"#)
        .unwrap();
    let spec = make(
        r#"{"edit_service": {"service": "mark://1", "persistence": {"timeout": 60}, "one_packet": true,
        "timeouts": {"udp": 5}}}"#,
    )
    .unwrap();
    let service = &spec.services[1];
    assert_eq!(service.scheduler_flags, [SchedulerFlag::ShPort, SchedulerFlag::Flag3], "by the scheduler's names");
    assert_eq!(service.persistence, Some(Persistence { timeout: 60, netmask: None }));
    assert_eq!((service.one_packet, service.timeouts.unwrap().udp), (true, Some(5)));
    let spec = make(
        r#"{"edit_service": {"service": "mark://1", "scheduler": "mh", "scheduler_flags": ["flag-1"],
        "table_slots": 251, "persistence": null}}"#,
    )
    .unwrap();
    let service = &spec.services[1];
    assert_eq!((service.table_slots, service.persistence), (Some(251), None));
    assert_eq!(service.scheduler_flags, [SchedulerFlag::MhFallback]);
    let real = r#"{"service": "10.0.0.1:80", "real": "10.0.1.1:80", "upper_threshold": 8}"#;
    let spec = make(&format!("{{\"edit_real\": {real}}}")).unwrap();
    assert_eq!((spec.services[0].reals[0].upper_threshold, spec.services[0].reals[0].lower_threshold), (8, 0));
}

#[test]
fn marks_and_the_director_are_edited_and_clear_leaves_them() {
    let mut spec = spec();
    let mut make = |json: &str| apply(&mut spec, edit(json)).map(|()| spec.clone()).map_err(|error| error.to_string());
    let rule = r#"{"mark": 1, "protocol": "udp", "address": "10.0.0.0/24:53"}"#;
    make(&format!("{{\"add_mark\": {rule}}}")).unwrap();
    make(r#"{"add_mark": {"mark": 2, "address": "[fd00::/64]:1-9"}}"#).unwrap();
    assert_eq!(
        make(r#"{"add_mark": {"mark": 3, "protocol": "udp", "address": "10.0.0.0/24:53-53"}}"#).unwrap_err(),
        "rule udp 10.0.0.0/24:53 of mark 1 exists already; change it with `xvs mark remove` and `xvs mark add`"
    );
    assert_eq!(
        make(r#"{"remove_mark": {"mark": 1, "address": "10.0.0.0/24:53"}}"#).unwrap_err(),
        "rule tcp 10.0.0.0/24:53 of mark 1 does not exist"
    );
    make(&format!("{{\"remove_mark\": {rule}}}")).unwrap();
    make(r#"{"set_timeouts": {"tcp_fin": 7}}"#).unwrap();
    make(r#"{"edit_director": {"conn_reuse_mode": 0, "sloppy_tcp": true}}"#).unwrap();
    assert_eq!(make(r#"{"set_timeouts": {}}"#).unwrap_err(), "nothing to change in the director's timeouts");
    assert_eq!(make(r#"{"edit_director": {}}"#).unwrap_err(), "nothing to change in the director");
    let spec = make(r#""clear""#).unwrap();
    assert_eq!((spec.services.len(), spec.marks.len()), (0, 1));
    assert_eq!((spec.director.timeouts.tcp, spec.director.timeouts.tcp_fin), (900, 7));
    assert_eq!((spec.director.conn_reuse_mode, spec.director.sloppy_tcp), (0, true));
}

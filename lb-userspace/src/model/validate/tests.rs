//! Specs from JSON: what is said about them.

use proptest::prelude::*;

use super::*;
use crate::model::arbitrary;

fn messages(json: &str) -> Vec<String> {
    let spec = serde_json::from_str(json).unwrap();
    validate(&spec).iter().map(ToString::to_string).collect()
}

#[test]
fn a_spec_from_json_gets_the_same_sentences_as_one_from_toml() {
    let json = r#"{"services": [{"service": "10.0.0.1:80", "scheduler_flags": ["sh-port"], "reals": [
        {"address": "10.0.1.1", "port": 80, "weight": 2147483648}, {"address": "fd00::1", "port": 80},
        {"address": "10.0.1.1", "port": 80}, {"address": "10.0.1.2", "port": 8080}]}]}"#;
    assert_eq!(
        messages(json),
        [
            "service[0].flags[0]: flag sh-port is for scheduler sh, this service has wlc",
            "service[0].real[0].weight: 2147483648 is out of range; from 0 to 2147483647",
            "service[0].real[1].address: fd00::1 is IPv6 but service tcp://10.0.0.1:80 is IPv4: direct \
             forwarding keeps the packet as it is; use method tunnel, gue, gre or fullnat",
            "service[0].real[2].address: real 10.0.1.1:80 is there already, as service[0].real[0]",
            "service[0].real[3].address: port 8080 is not the service's port 80: direct forwarding does not \
             rewrite ports; leave it out, or use method nat or fullnat",
        ]
    );
}

#[test]
fn a_helper_is_for_nat_on_a_tcp_port_of_its_own() {
    let json = r#"{"services": [
        {"service": "10.0.0.1:21", "helper": "ftp", "method": "nat", "reals": [{"address": "10.0.1.1", "port": 2121}]},
        {"service": "10.0.0.2:21", "helper": "ftp", "method": "nat", "reals": [
            {"address": "10.0.1.1", "port": 21}, {"address": "10.0.1.2", "port": 21, "method": "direct"}]},
        {"service": "10.0.0.2", "method": "nat"},
        {"service": "udp://10.0.0.1:21", "helper": "ftp", "method": "nat"},
        {"service": "10.0.0.3", "helper": "ftp", "method": "nat"}]}"#;
    assert_eq!(
        messages(json),
        [
            "service[1].helper: tcp://10.0.0.2:0 takes the data connections of ftp: one of the two has to go",
            "service[1].helper: ftp needs method nat, real 10.0.1.2:21 has direct: behind other methods reals answer \
             past the director, or never to the client's address",
            "service[3].helper: ftp is spoken over tcp, this service is udp",
            "service[4].helper: ftp has control connections on a port of their own, such as 21; name it",
        ]
    );
}

#[test]
fn too_much_is_said_once() {
    let real = r#"{"address": "10.0.1.1", "port": 80}"#;
    let json = format!(
        r#"{{"services": [{{"service": "10.0.0.1:80", "reals": [{}]}}]}}"#,
        vec![real; MAX_REALS + 1].join(",")
    );
    assert_eq!(messages(&json), ["service[0].real: 1025 reals are too many; at most 1024 a service"]);
}

proptest! {
    #[test]
    fn what_the_generator_calls_valid_is_valid(spec in arbitrary::spec()) {
        prop_assert_eq!(validate(&spec), vec![]);
    }
}

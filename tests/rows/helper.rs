//! What goes to the daemon's helper, and connections that user space writes: the program finds them, because both agree on hashes,
//! entries, records and ties.

use std::net::SocketAddr;

use lb_common::abi::connection::State;
use lb_common::abi::real::{Capacity, Real, method, option};
use lb_common::abi::service::{flag, scheduler::RR};
use lb_common::abi::settings::Settings;
use lb_common::abi::verdict::Verdict::*;
use lb_tests::director::{Director, direct};
use lb_tests::packet::{ACK, Packet, RST, SYN};
use lb_tests::row::{self, row};
use lb_userspace::dataplane::controls::Control;

use super::{CLIENT, CLIENT6, VIP, VIP6};

/// VIP, client and real of a family.
const FAMILIES: [[&str; 3]; 2] = [[VIP, CLIENT, "10.0.1.1"], [VIP6, CLIENT6, "fd00::1:1"]];

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

fn nat(real: SocketAddr, options: u8) -> Real {
    Real { method: method::NAT, options, ..direct(&real.to_string(), 1) }
}

/// FTP on port 21 of both VIPs, and the services of any port behind it. Packets of data connections go to the helper as well, which
/// tells that the program has found them.
fn director() -> Director {
    let mut director = Director::default();
    for [vip, _, real] in FAMILIES {
        director.service(&format!("tcp://{}", at(vip, 21)), RR, 0, &[(nat(at(real, 21), option::HELPER), 1)]);
        let data = director.service(&format!("tcp://{}", at(vip, 0)), RR, flag::HELPER, &[]);
        for port in [0, 2020] {
            director
                .tables
                .set_real(&data, at(real, port), &nat(at(real, port), option::HELPER), &Capacity::default())
                .unwrap();
        }
    }
    director.tables.set_settings(&Settings { replies: 1, ..director.tables.settings() });
    director
}

fn packet(from: SocketAddr, to: SocketAddr, flags: u8) -> Vec<u8> {
    Packet::new(from.ip(), to.ip()).tcp(from.port(), to.port(), flags).build()
}

/// What the connections of a client's port are doing.
fn states(director: &Director, client: SocketAddr) -> Vec<State> {
    director.connections().into_iter().filter(|(of, _)| *of == client).map(|(_, state)| state).collect()
}

/// The control connection of a client, which begins with its SYN.
fn control(director: &mut Director, client: SocketAddr, vip: SocketAddr, real: SocketAddr) -> Control {
    assert_eq!(director.tables.control_of_client(client, vip), None);
    row::run(director, &[row("a control connection begins", packet(client, vip, SYN), ToHelper)]);
    let control = director.tables.control_of_client(client, vip).expect("it is in the table, and tied");
    assert_eq!((control.client, control.vip, control.real), (client, vip, real));
    assert_eq!(director.tables.control_of_real(real, client), Some(control), "found from its other end");
    control
}

#[test]
fn control_connections_go_to_the_helper_in_both_directions() {
    for [vip, client, real] in FAMILIES {
        let mut director = director();
        let (client, vip, real) = (at(client, 4000), at(vip, 21), at(real, 21));
        let control = control(&mut director, client, vip, real);
        row::run(
            &mut director,
            &[
                row("the real's answer", packet(real, client, SYN | ACK), ToHelper),
                row("the client's packets", packet(client, vip, ACK), ToHelper),
                row("another port of the real", packet(at(&real.ip().to_string(), 22), client, ACK), NotAService),
            ],
        );
        assert_eq!(director.connections(), [(client, State::Established)]);
        let now = director.tables.control_of_client(client, vip).unwrap();
        assert_eq!((now.to_real, now.to_real.mtu), (control.to_real, 1500));
        assert!(
            now.to_client.mtu > 0,
            "what fits towards the client is there, though the program sends nothing itself"
        );
        director.tables.set_moved(&now, 7);
        assert_eq!(director.tables.control_of_real(real, client).unwrap().moved, 7);
    }
}

#[test]
fn nothing_begins_a_data_connection_but_a_bare_syn() {
    for [vip, client, _] in FAMILIES {
        let (client, vip) = (at(client, 4000), at(vip, 50_000));
        let mut director = director();
        row::run(
            &mut director,
            &[
                row("the helper is asked", packet(client, vip, SYN), ToHelper),
                row("an answer to the director's own", packet(client, vip, SYN | ACK), NotAService),
                row("its packets", packet(client, vip, ACK), MissNotSyn),
                row("a reset", packet(client, vip, RST), MissNotSyn),
            ],
        );
        assert_eq!(director.connections(), [], "none of them left anything");
    }
}

#[test]
fn a_data_connection_that_the_client_opens_is_the_programs_once_it_is_written() {
    for [vip, client, real] in FAMILIES {
        let mut director = director();
        let (client, vip) = (at(client, 4001), at(vip, 50_000));
        let settings = director.tables.settings();
        director.tables.begin_passive(client, vip, real.parse().unwrap(), 0, &settings).unwrap();
        assert_eq!(director.connections(), [(client, State::SynRecv)]);
        row::run(
            &mut director,
            &[
                row("its SYN once more", packet(client, vip, SYN), ToHelper),
                row("the real's answer", packet(at(real, 50_000), client, SYN | ACK), ToHelper),
                row("the client's", packet(client, vip, ACK), ToHelper),
            ],
        );
        assert_eq!(director.connections(), [(client, State::Established)]);
        let key = format!("tcp://{}", at(&vip.ip().to_string(), 0)).parse().unwrap();
        assert_eq!(director.load(&key, at(real, 0)), (1, 0));
    }
}

#[test]
fn a_data_connection_that_the_real_opens_is_known_before_its_first_packet() {
    for [vip, client, real] in FAMILIES {
        // A real whose ports are the service's, and one with others.
        for (port, number) in [(20, 0), (2020, 2020)] {
            let mut director = director();
            let mut control = control(&mut director, at(client, 4000), at(vip, 21), at(real, 21));
            // Without an MTU its packets go to the helper.
            control.to_client.mtu = 0;
            let (client, vip, real) = (at(client, 5001), at(vip, 20), at(real, port));
            let settings = director.tables.settings();
            let first = packet(real, client, SYN);
            row::run(&mut director, &[row("nobody has spoken of it", first.clone(), NotAService)]);
            let begin = |director: &Director| {
                director.tables.begin_active(&control, [client, vip, real], 0, &settings).unwrap();
            };
            begin(&director);
            begin(&director);
            assert_eq!(states(&director, client), [State::Listen], "spoken of twice");
            row::run(&mut director, &[row("the real begins", first.clone(), ToHelper)]);
            director.tables.end_waiting(vip, client);
            assert_eq!(states(&director, client), []);
            row::run(&mut director, &[row("it is over", first.clone(), NotAService)]);
            begin(&director);
            row::run(
                &mut director,
                &[
                    row("the real begins", first, ToHelper),
                    row("the client answers", packet(client, vip, SYN | ACK), ToHelper),
                    row("the real's data", packet(real, client, ACK), ToHelper),
                ],
            );
            director.tables.end_waiting(vip, client);
            assert_eq!(states(&director, client), [State::Established], "one that has begun goes on");
            let key = format!("tcp://{}", at(&vip.ip().to_string(), 0)).parse().unwrap();
            let real = at(&real.ip().to_string(), number);
            assert_eq!(director.load(&key, real), (1, 0));
            director.forget();
            assert_eq!(director.load(&key, real), (0, 0));
        }
    }
}

#[test]
fn two_connections_never_have_one_record() {
    let [vip, client, real] = FAMILIES[0];
    let mut director = director();
    let control = control(&mut director, at(client, 4000), at(vip, 21), at(real, 21));
    let settings = director.tables.settings();
    let other = director.service("tcp://10.0.0.101:0", RR, flag::HELPER, &[]);
    director.tables.set_real(&other, at(real, 0), &nat(at(real, 0), 0), &Capacity::default()).unwrap();
    let begin = |director: &Director, vip| {
        director.tables.begin_active(&control, [at(client, 5001), at(vip, 20), at(real, 20)], 0, &settings)
    };
    begin(&director, vip).unwrap();
    assert!(begin(&director, "10.0.0.101").is_err(), "answers of both would look the same");
    assert_eq!(director.connections().len(), 2, "what was not tied is gone");
    director.tables.end_waiting(at(vip, 20), at(client, 5001));
    begin(&director, "10.0.0.101").unwrap();
    assert!(begin(&director, "10.0.0.102").is_err(), "no such service");
}

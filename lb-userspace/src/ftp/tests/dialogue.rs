//! What clients and servers say, and the data connections and changes that follow.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::Notice;
use super::super::expect::{Expectation, Kind, LIFETIME};
use super::*;

fn end(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn passive(vip: &str, real: &str) -> Expectation {
    let client = if end(vip).is_ipv4() { v4() } else { v6() }.client().ip();
    Expectation { kind: Kind::Passive, client, client_port: None, vip: end(vip), real: end(real), lifetime: LIFETIME }
}

#[test]
fn a_passive_reply_names_the_vip_and_numbers_follow() {
    let mut wire = Wire::new(v4());
    wire.pass(FromReal, &Tcp { seq: 99, ack: 50, flags: SYN | ACK, ..Tcp::default() });
    assert_eq!(wire.ftp.controls(), 0, "nothing to remember yet");
    wire.real(100, "220 Hello\r\n");
    assert_eq!(wire.ftp.controls(), 1);
    wire.client(50, "PASV\r\n");
    let (seen, output) = wire.pass(FromReal, &data(111, 56, PASSIVE));
    assert_eq!(seen, data(111, 56, PASSIVE_VIP));
    assert_eq!(output.opened, [passive("198.51.100.100:50000", "10.0.0.11:50000")]);
    assert_eq!((output.closed, output.notices), (vec![], vec![]));

    let after = 111 + PASSIVE.len() as u32;
    assert_eq!(wire.real(after, "150 Here it comes\r\n").0.seq, after + GROWTH);
    assert_eq!(wire.real(100, "220 Hello\r\n").0, data(100, 0, "220 Hello\r\n"), "from before, sent again");
    let (again, output) = wire.pass(FromReal, &data(111, 56, PASSIVE));
    assert_eq!((again, output.opened), (data(111, 56, PASSIVE_VIP), vec![]));
    let (acknowledged, _) = wire.pass(FromClient, &data(56, after + GROWTH + 19, "RETR x\r\n"));
    assert_eq!((acknowledged.seq, acknowledged.ack), (56, after + 19));
    let (before, _) = wire.pass(FromClient, &data(56, 111, ""));
    assert_eq!(before.ack, 111);

    // A second time, behind the first: delta and previous_delta.
    wire.client(64, "PASV\r\n");
    let (second, _) = wire.real(after + 19, PASSIVE);
    assert_eq!((second.seq, second.payload), (after + 19 + GROWTH, PASSIVE_VIP.as_bytes().to_vec()));
    let last = after + 19 + PASSIVE.len() as u32;
    assert_eq!(wire.real(last, "226 Done\r\n").0.seq, last + 2 * GROWTH);
    assert_eq!(wire.pass(FromReal, &data(111, 56, PASSIVE)).0, data(111, 56, PASSIVE_VIP), "the first, once more");
}

#[test]
fn extended_passive_keeps_its_text() {
    for (translation, number, vip, real) in
        [(v4(), 1, "198.51.100.100:6446", "10.0.0.11:6446"), (v6(), 2, "[2001:db8::100]:6446", "[fd00::11]:6446")]
    {
        for command in ["EPSV\r\n".to_owned(), format!("epsv {number}\r\n")] {
            let mut wire = Wire::new(translation);
            wire.client(1, &command);
            let reply = "229 Entering Extended Passive Mode (|||6446|)\r\n";
            let (seen, output) = wire.real(1, reply);
            assert_eq!((seen, output.opened), (data(1, 0, reply), vec![passive(vip, real)]));
            assert_eq!(wire.real(1000, "x").0.seq, 1000, "nothing is moved");
        }
        let mut wire = Wire::new(translation);
        wire.client(1, &format!("EPSV {}\r\n", 3 - number));
        assert_eq!(wire.real(1, "229 (|||6446|)\r\n").1.opened, [], "the other family is none of ours");
        wire.client(8, "EPSV ALL\r\n");
        assert_eq!(wire.real(16, "229 (|||6446|)\r\n").1.opened, []);
    }
}

#[test]
fn active_ones_keep_their_text() {
    for (translation, command, client, vip, real) in [
        (v4(), "PORT 192,0,2,7,19,137\r\n", "192.0.2.7:5001", "198.51.100.100:20", "10.0.0.11:20"),
        (v4(), "EPRT |1|192.0.2.7|5001|\r\n", "192.0.2.7:5001", "198.51.100.100:20", "10.0.0.11:20"),
        (v6(), "EPRT |2|2001:db8:c:0:0:0:0:7|5001|\r\n", "[2001:db8:c::7]:5001", "[2001:db8::100]:20", "[fd00::11]:20"),
    ] {
        let mut wire = Wire::new(translation);
        let (seen, output) = wire.client(1, command);
        assert_eq!(seen, data(1, 0, command));
        let expectation = Expectation {
            kind: Kind::Active,
            client: end(client).ip(),
            client_port: Some(5001),
            vip: end(vip),
            real: end(real),
            lifetime: LIFETIME,
        };
        assert_eq!((output.opened, output.notices), (vec![expectation], vec![]));
        assert_eq!(wire.client(1, command).1.opened, [], "sent again");
    }
    let lowest = translation("192.0.2.7:4000", "198.51.100.100:1", "10.0.0.11:21");
    assert_eq!(Wire::new(lowest).client(1, "PORT 192,0,2,7,19,137\r\n").1.opened, [], "no port below 1");
}

#[test]
fn closing_first_and_opening_then_leaves_what_is_waited_for() {
    let ports = |ports: &[u8]| ports.iter().map(|port| format!("PORT 192,0,2,7,19,{port}\r\n")).collect::<String>();
    let mut wire = Wire::new(v4());
    let mut installed = std::collections::BTreeSet::new();
    let mut carry_out = |output: Output| {
        for closed in output.closed {
            installed.remove(&closed.client_port);
        }
        installed.extend(output.opened.iter().map(|opened| opened.client_port));
        installed.iter().map(|port| port.unwrap() as u8).collect::<Vec<_>>()
    };
    let first = ports(&[1, 2, 3, 4, 5, 1]);
    assert_eq!(carry_out(wire.client(1, &first).1), [1, 3, 4, 5]);
    let (next, second) = (1 + first.len() as u32, ports(&[6, 7]));
    assert_eq!(carry_out(wire.client(next, &second).1), [1, 5, 6, 7]);
    // A FIN that brings one more, as the last of both: its expectation ends with the connection.
    wire.real(1, "220 Hello\r\n");
    wire.pass(FromReal, &Tcp { seq: 12, flags: FIN | ACK, ..Tcp::default() });
    let last = Tcp { flags: FIN | ACK, ..data(next + second.len() as u32, 0, &ports(&[8])) };
    let left = carry_out(wire.pass(FromClient, &last).1);
    assert!(left.is_empty() && wire.ftp.expectations() == 0, "{left:?}");
}

#[test]
fn bounces_open_nothing() {
    let other = "203.0.113.9".parse().unwrap();
    for (command, notice) in [
        ("PORT 203,0,113,9,19,137\r\n", Notice::NotTheClient(other)),
        ("EPRT |1|203.0.113.9|5001|\r\n", Notice::NotTheClient(other)),
        ("EPRT |2|::ffff:192.0.2.7|5001|\r\n", Notice::NotTheClient("::ffff:192.0.2.7".parse().unwrap())),
        ("PORT 192,0,2,7,0,25\r\n", Notice::LowPort(25)),
        ("PORT 192,0,2,7,0,0\r\n", Notice::LowPort(0)),
    ] {
        let (seen, output) = Wire::new(v4()).client(1, command);
        assert_eq!(seen, data(1, 0, command));
        assert_eq!((output.opened, output.notices), (vec![], vec![notice]));
    }
    for (reply, notice) in [
        ("227 (203,0,113,9,195,80)\r\n", Notice::NotTheReal(other)),
        ("227 (192,0,2,7,195,80)\r\n", Notice::NotTheReal(v4().client().ip())),
        ("227 (10,0,0,11,0,22)\r\n", Notice::LowPort(22)),
    ] {
        let mut wire = Wire::new(v4());
        wire.client(1, "PASV\r\n");
        let (seen, output) = wire.real(1, reply);
        assert_eq!(seen, data(1, 0, reply));
        assert_eq!((output.opened, output.notices), (vec![], vec![notice]));
    }
}

#[test]
fn a_server_may_announce_the_vip_itself() {
    let mut wire = Wire::new(v4());
    wire.client(1, "PASV\r\n");
    let (seen, output) = wire.real(1, PASSIVE_VIP);
    assert_eq!(
        (seen, output.opened),
        (data(1, 0, PASSIVE_VIP), vec![passive("198.51.100.100:50000", "10.0.0.11:50000")])
    );
    assert_eq!(wire.real(500, "x").0.seq, 500);
}

#[test]
fn only_replies_to_what_was_asked_count() {
    // Nobody asked; asked for something else since; inside a long reply; not at a line's begin; on IPv6.
    let mut wire = Wire::new(v4());
    assert_eq!(wire.real(1, PASSIVE).1.opened, []);
    wire.client(1, "PASV\r\nPORT 192,0,2,7,19,137\r\n");
    assert_eq!(wire.real(1 + PASSIVE.len() as u32, PASSIVE).0.payload, PASSIVE.as_bytes());
    let long = format!("250-Welcome\r\n{PASSIVE}250 End\r\nxx{PASSIVE}");
    let mut wire = Wire::new(v4());
    wire.client(1, "PASV\r\n");
    assert_eq!(wire.real(1, &long).0.payload, long.as_bytes());
    // The same lines, cut so that the reply begins a segment.
    let cut = long.rfind("227").unwrap();
    let mut wire = Wire::new(v4());
    wire.client(1, "PASV\r\n");
    wire.real(1, &long[..cut]);
    let (seen, output) = wire.real(1 + cut as u32, &long[cut..]);
    assert_eq!((seen.payload, output.opened), (PASSIVE.as_bytes().to_vec(), vec![]));
    let mut wire = Wire::new(v6());
    wire.client(1, "PASV\r\n");
    let (seen, output) = wire.real(1, PASSIVE);
    assert_eq!((seen.payload, output.notices), (PASSIVE.as_bytes().to_vec(), vec![]));
    // Answered already.
    let mut wire = Wire::new(v4());
    wire.passive(1, 1);
    let (seen, output) = wire.real(1 + PASSIVE.len() as u32, PASSIVE);
    assert_eq!((seen.payload, output.opened), (PASSIVE.as_bytes().to_vec(), vec![]));
    assert!(Wire::new(v4()).client(1, "RETR PORT 192,0,2,7,19,137\r\n").1.opened.is_empty());
}

#[test]
fn lines_among_others_and_in_pieces() {
    let mut wire = Wire::new(v4());
    for (n, letter) in ["p", "A", "s", "V", "\r", "\n"].into_iter().enumerate() {
        wire.client(1 + n as u32, letter);
    }
    let whole = format!("250 Okay.\r\n{PASSIVE}150 Data\r\n");
    let (seen, output) = wire.real(1, &whole);
    assert_eq!((seen.payload, output.opened.len()), (whole.replace(PASSIVE, PASSIVE_VIP).into_bytes(), 1));

    // The text of a reply may come first; its numbers have to be in one segment.
    for (cut, is_changed) in [(20, true), (PASSIVE.find("10,").unwrap(), true), (PASSIVE.find(",0,").unwrap(), false)] {
        let mut wire = Wire::new(v4());
        wire.client(1, "PASV\r\n");
        assert_eq!(wire.real(1, &PASSIVE[..cut]).0.payload, PASSIVE.as_bytes()[..cut]);
        let (seen, output) = wire.real(1 + cut as u32, &PASSIVE[cut..]);
        assert_eq!(output.opened.len(), usize::from(is_changed));
        assert_eq!(output.notices, if is_changed { vec![] } else { vec![Notice::SplitReply] });
        assert_eq!(seen.payload, &if is_changed { PASSIVE_VIP } else { PASSIVE }.as_bytes()[cut..]);
        // Both pieces in one, sent again: as they were the first time.
        let (again, _) = wire.real(1, PASSIVE);
        assert_eq!(again.payload, if is_changed { PASSIVE_VIP } else { PASSIVE }.as_bytes());
    }
    // The line's end alone comes later: the numbers are gone by then.
    let mut wire = Wire::new(v4());
    wire.client(1, "PASV\r\n");
    let line = PASSIVE.len() - 2;
    wire.real(1, &PASSIVE[..line]);
    assert_eq!(wire.real(1 + line as u32, "\r\n").1.notices, [Notice::SplitReply]);
}

#[test]
fn a_lost_segment_ends_a_long_reply_and_data_on_a_syn_counts() {
    let mut wire = Wire::new(v4());
    wire.client(1, "PASV\r\n");
    wire.real(1, "250-Welcome\r\n");
    let (seen, _) = wire.real(100, &format!("250 End\r\n{PASSIVE}"));
    assert!(seen.payload.ends_with(PASSIVE_VIP.as_bytes()));
    let mut wire = Wire::new(v4());
    wire.pass(FromClient, &Tcp { seq: 0, flags: SYN, payload: b"PA".to_vec(), ..Tcp::default() });
    wire.client(3, "SV\r\n");
    assert_eq!(wire.real(1, PASSIVE).1.opened.len(), 1);
}

#[test]
fn numbers_stay_moved_when_they_come_round() {
    let mut wire = Wire::new(v4());
    wire.passive(1, 1);
    // A quarter of all numbers at a time: after two, the change would lie ahead.
    for quarter in 1..6u32 {
        let seq = 1000u32.wrapping_add(quarter.wrapping_mul(1 << 30));
        assert_eq!(wire.real(seq, "200 Okay\r\n").0.seq, seq.wrapping_add(GROWTH));
        let (seen, _) = wire.pass(FromClient, &data(7, seq.wrapping_add(GROWTH), ""));
        assert_eq!(seen.ack, seq);
    }
}

#[test]
fn nothing_is_read_under_tls() {
    let mut wire = Wire::new(v4());
    let (_, earlier) = wire.passive(1, 1);
    assert_eq!(earlier.opened.len(), 1);
    wire.client(7, "AUTH TLS\r\n");
    let at = 1 + PASSIVE.len() as u32;
    assert_eq!(wire.real(at, "234 Go on\r\n").1.notices, [Notice::Encrypted]);
    wire.client(17, "PASV\r\n");
    let (seen, output) = wire.real(at + 11, PASSIVE);
    assert_eq!((seen.payload, output.opened), (PASSIVE.as_bytes().to_vec(), vec![]));
    assert_eq!(seen.seq, at + 11 + GROWTH, "numbers go on as they were");
}

#[test]
fn the_end_of_a_connection() {
    let reset = |seq| Tcp { seq, flags: RST, ..Tcp::default() };
    let fin = |seq| Tcp { seq, flags: FIN | ACK, ..Tcp::default() };
    let started = || {
        let mut wire = Wire::new(v4());
        let opened = wire.passive(100, 100).1.opened;
        (wire, opened, 106, 100 + PASSIVE.len() as u32)
    };
    for direction in [FromClient, FromReal] {
        let (mut wire, opened, client, real) = started();
        let next = if direction == FromClient { client } else { real };
        assert_eq!(wire.send(direction, &reset(next + 1)).unwrap().closed, []);
        assert_eq!(wire.ftp.controls(), 1, "a forged reset ends nothing");
        assert_eq!(wire.send(direction, &reset(next)).unwrap().closed, opened);
        assert_eq!((wire.ftp.controls(), wire.ftp.expectations()), (0, 0));
    }
    let (mut wire, opened, client, real) = started();
    assert_eq!(wire.send(FromClient, &fin(client + 7)).unwrap().closed, [], "forged, too");
    assert_eq!(wire.send(FromReal, &fin(real)).unwrap().closed, []);
    assert_eq!(wire.send(FromClient, &fin(client)).unwrap().closed, opened);
    assert_eq!(wire.pass(FromReal, &fin(real)).0.seq, real + GROWTH, "sent again");
    wire.now += Limits::default().closing;
    wire.ftp.expire(wire.now);
    assert_eq!(wire.ftp.controls(), 0);

    let (mut wire, opened, client, _) = started();
    wire.send(FromClient, &fin(client)).unwrap();
    assert_eq!(wire.send(FromClient, &reset(client + 1)).unwrap().closed, opened, "a reset behind its FIN");

    let (mut wire, opened, ..) = started();
    let syn = Tcp { seq: 7, flags: SYN, ..Tcp::default() };
    assert_eq!(wire.pass(FromClient, &syn).1.closed, [], "the real decides whether this begins anew");
    let answer = Tcp { seq: 9000, ack: 8, flags: SYN | ACK, ..Tcp::default() };
    let (seen, output) = wire.pass(FromReal, &answer);
    assert_eq!((seen, output.closed, wire.ftp.controls()), (answer, opened, 0));

    let (mut wire, opened, ..) = started();
    wire.translation = translation("192.0.2.7:4000", "198.51.100.100:21", "10.0.0.12:21");
    let (seen, output) = wire.real(5000, "220 Another real\r\n");
    assert_eq!((seen.seq, output.closed), (5000, opened));
}

#[test]
fn silence_is_forgotten_unless_data_flows() {
    let mut wire = Wire::new(v4());
    let opened = wire.passive(1, 1).1.opened;
    wire.now += Limits::default().idle - Duration::from_nanos(1);
    assert_eq!((wire.ftp.expire(wire.now), wire.ftp.controls()), (opened, 1));
    wire.ftp.touch(wire.now, wire.translation.key());
    wire.now += Limits::default().idle - Duration::from_nanos(1);
    wire.ftp.expire(wire.now);
    assert_eq!(wire.real(1000, "226 Done\r\n").0.seq, 1000 + GROWTH);
    wire.now += Limits::default().idle - Duration::from_nanos(1);
    wire.ftp.expire(wire.now);
    assert_eq!(wire.ftp.controls(), 1, "it has spoken");
    wire.now += Duration::from_nanos(1);
    wire.ftp.expire(wire.now);
    assert_eq!(wire.ftp.controls(), 0);
}

#[test]
fn a_full_table_refuses_new_ones_and_keeps_the_old() {
    let limits = Limits { controls: 1, expectations: 1, ..Limits::default() };
    let mut wire = Wire::new(v4());
    wire.ftp = Ftp::new(limits);
    wire.passive(1, 1);
    let first = wire.translation;
    wire.translation = translation("192.0.2.7:4001", "198.51.100.100:21", "10.0.0.11:21");
    wire.pass(FromClient, &Tcp { seq: 1, flags: SYN, ..Tcp::default() });
    assert_eq!(wire.send(FromReal, &data(1, 0, "220 Hello\r\n")), Err(Refused::TableFull));
    wire.translation = first;
    assert_eq!(wire.client(7, "PORT 192,0,2,7,19,137\r\n").1.notices, [Notice::NoRoom]);
    let expectation = passive("198.51.100.100:50000", "10.0.0.11:50000");
    assert!(wire.ftp.used(&expectation) && !wire.ftp.used(&expectation));
    assert_eq!(wire.client(30, "PORT 192,0,2,7,19,138\r\n").1.opened.len(), 1);
    wire.ftp.forget(first.key());
    assert_eq!((wire.ftp.controls(), wire.ftp.expectations()), (0, 0));
}

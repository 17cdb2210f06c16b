//! What a daemon knows of control connections that another one has followed, and data connections that begin.

use super::super::adjust::Moved;
use super::super::table::Begun;
use super::*;

/// A `227` on its way changed the numbers; then another daemon takes over.
fn resumed() -> (Wire, u32) {
    let mut wire = Wire::new(v4());
    wire.passive(1, 1000);
    let moved = wire.ftp.moved(wire.translation.key()).unwrap();
    let mut next = Wire::new(v4());
    let first = packet(&next.translation, FromReal, &data(1000 + PASSIVE.len() as u32, 7, "150\r\n"));
    assert!(next.ftp.resume(next.now, &next.translation, &first, Moved::of(moved.word()).unwrap()));
    assert_eq!(next.ftp.keys().collect::<Vec<_>>(), [next.translation.key()]);
    (next, 1000 + PASSIVE.len() as u32)
}

#[test]
fn a_new_daemon_goes_on_where_the_last_one_was() {
    let (mut wire, end) = resumed();
    assert_eq!(wire.real(end, "150 Here\r\n").0.seq, end + GROWTH);
    let ack = Tcp { seq: 7, ack: end + GROWTH + 10, flags: ACK, ..Tcp::default() };
    assert_eq!(wire.pass(FromClient, &ack).0.ack, end + 10);
    // The next change is one behind the last.
    wire.pass(FromClient, &data(7, end + GROWTH + 10, "PASV\r\n"));
    let (seen, output) = wire.real(end + 10, PASSIVE);
    assert_eq!((seen.seq, output.opened.len()), (end + 10 + GROWTH, 1));
    let behind = end + 10 + PASSIVE.len() as u32;
    assert_eq!(wire.real(behind, "150\r\n").0.seq, behind + 2 * GROWTH);
}

#[test]
fn what_speaks_of_numbers_before_ends_the_connection_for_both_sides() {
    let (mut wire, end) = resumed();
    let numbers_end = end - ").\r\n".len() as u32;
    let again = data(1000, 7, PASSIVE);
    assert_eq!(wire.send(FromReal, &again), Err(Refused::Lost));
    let resets = wire.ftp.resets(&wire.translation, FromReal, &packet(&wire.translation, FromReal, &again)).unwrap();
    let reset = |seq| Tcp { seq, flags: RST, ..Tcp::default() };
    let ends = |direction| wire.translation.ends(direction);
    let (source, destination, back) = read(&resets.back);
    assert_eq!(((destination, source), back), (ends(FromReal)[0], reset(7)));
    let (source, destination, onwards) = read(&resets.onwards);
    assert_eq!(((source, destination), onwards), (ends(FromReal)[1], reset(numbers_end + GROWTH)));

    let old = Tcp { seq: 7, ack: 1000, flags: ACK, ..Tcp::default() };
    assert_eq!(wire.send(FromClient, &old), Err(Refused::Lost));
    let resets = wire.ftp.resets(&wire.translation, FromClient, &packet(&wire.translation, FromClient, &old)).unwrap();
    assert_eq!((read(&resets.back).2, read(&resets.onwards).2), (reset(1000), reset(7)));
    // A reset is not answered.
    let reset = packet(&wire.translation, FromReal, &Tcp { seq: 1000, flags: RST, ..Tcp::default() });
    assert_eq!(wire.ftp.resets(&wire.translation, FromReal, &reset), None);
}

#[test]
fn resets_of_ipv6_are_whole() {
    let translation = v6();
    let mut wire = Wire::new(translation);
    let old = packet(&translation, FromReal, &data(1, 9, "x"));
    assert!(wire.ftp.resume(wire.now, &translation, &old, Moved::of(5 << 32 | 1).unwrap()));
    let resets = wire.ftp.resets(&translation, FromReal, &old).unwrap();
    assert_eq!((read(&resets.back).2.seq, read(&resets.onwards).2.seq), (9, 6));
}

#[test]
fn a_new_connection_on_the_same_ports_has_its_own_numbers() {
    let (mut wire, _) = resumed();
    wire.pass(FromReal, &Tcp { seq: 100, ack: 1, flags: SYN | ACK, ..Tcp::default() });
    assert_eq!(wire.ftp.moved(wire.translation.key()), None);
    assert_eq!(wire.real(101, "220 \r\n").0.seq, 101);
}

#[test]
fn a_syn_goes_on_with_nothing_and_neither_does_what_finds_no_room() {
    let (mut wire, moved) = (Wire::new(v4()), Moved::of(5 << 32 | 1).unwrap());
    let syn = packet(&wire.translation, FromClient, &Tcp { flags: SYN, ..Tcp::default() });
    assert!(wire.ftp.resume(wire.now, &wire.translation, &syn, moved));
    assert_eq!((wire.ftp.controls(), wire.ftp.moved(wire.translation.key())), (0, None));
    wire.ftp = Ftp::new(Limits { controls: 0, ..Limits::default() });
    let other = packet(&wire.translation, FromClient, &Tcp { flags: ACK, ..Tcp::default() });
    assert!(!wire.ftp.resume(wire.now, &wire.translation, &other, moved));
}

#[test]
fn a_data_connection_begins_with_a_syn_of_the_client_that_was_told() {
    let mut wire = Wire::new(v4());
    let (_, output) = wire.passive(1, 1000);
    let expectation = output.opened[0];
    let syn = |client: &str, vip: &str, flags| {
        packet(&translation(client, vip, "10.0.0.11:50000"), FromClient, &Tcp { flags, ..Tcp::default() })
    };
    let begun = Begun { expectation, client: "192.0.2.7:9".parse().unwrap(), control: wire.translation.key() };
    assert_eq!(wire.ftp.begun_by(&syn("192.0.2.7:9", "198.51.100.100:50000", SYN)), Some(begun));
    for (client, vip, flags) in [
        ("192.0.2.8:9", "198.51.100.100:50000", SYN),
        ("192.0.2.7:9", "198.51.100.100:50001", SYN),
        ("192.0.2.7:9", "198.51.100.101:50000", SYN),
        ("192.0.2.7:9", "198.51.100.100:50000", ACK),
        ("192.0.2.7:9", "198.51.100.100:50000", SYN | ACK),
    ] {
        assert_eq!(wire.ftp.begun_by(&syn(client, vip, flags)), None, "{client} {vip} {flags}");
    }
    let mut damaged = syn("192.0.2.7:9", "198.51.100.100:50000", SYN);
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(wire.ftp.begun_by(&damaged), None);
    assert!(wire.ftp.used(&expectation));
    assert_eq!(wire.ftp.begun_by(&syn("192.0.2.7:9", "198.51.100.100:50000", SYN)), None, "once");
}

//! Frames that were recorded from another XDP balancer, with what it made of them, go through our programs: what we make of them is the
//! same, or it is listed in [`differences`] with a reason. Needs root, and the recorded file; see docs/testing.md.

mod compare;
mod differences;
mod document;
mod frame;
mod ours;
mod recorded;

use lb_tests::packet::{checksum, spoil};

use crate::compare::{Fields, Side, different};
use crate::differences::{DIFFERENCES, listed};
use crate::frame::ETHERNET;
use crate::ours::{Ours, action};
use crate::recorded::{Case, Recorded, Suite, Vip};

fn vips<'a>(recorded: &'a Recorded, suite: &Suite) -> &'a [Vip] {
    ours::services(recorded, suite).map_or(&[], |services| &services.vips)
}

#[test]
fn recorded_packets() {
    let Some(recorded) = recorded::read() else {
        println!("skipped: no recorded packets at {}; XVS_CONFORMANCE names another place", recorded::path().display());
        return;
    };
    let mut wrong = Vec::new();
    let (mut same, mut listed_count) = (0, 0);
    for (name, suite) in &recorded.suites {
        let vips = vips(&recorded, suite);
        let (mut ours, mut peers_side, mut our_side) =
            (Ours::new(&recorded, name, suite), Side::new(vips), Side::new(vips));
        for case in &suite.cases {
            match compare(&mut ours, &mut peers_side, &mut our_side, name, case) {
                Ok(true) => same += 1,
                Ok(false) => listed_count += 1,
                Err(line) => wrong.push(line),
            }
        }
    }
    println!("{same} the same, {listed_count} different on purpose, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "cases that are not as listed:\n{}", wrong.join("\n"));
    assert!(same > 0, "nothing was compared");
    let all: usize = DIFFERENCES.iter().flat_map(|list| list.cases).map(|(_, numbers)| numbers.len()).sum();
    assert_eq!(listed_count, all, "a case is listed that is not recorded");
}

/// Sends a case, prints its line. True: the same; false: different as listed; an error: the line, for the end.
fn compare(ours: &mut Ours, peer: &mut Side<'_>, our: &mut Side<'_>, suite: &str, case: &Case) -> Result<bool, String> {
    let input = case.input();
    let expected = peer.describe(&input, action(&case.verdict), &case.output());
    let (code, verdict, output) = ours.send(&input);
    let seen = our.describe(&input, code, &output);
    let differs = different(&expected, &seen);
    let list = listed(suite, case.number);
    let head = format!("{suite} {}: {verdict}", case.number);
    let line = if differs.is_empty() {
        format!("{head}: same in {}", expected.keys().copied().collect::<Vec<_>>().join(", "))
    } else {
        let each = |field: &&str| format!("{field} {}, peer {}", value(&seen, field), value(&expected, field));
        let reason = list.map_or("of nothing that is listed", |list| list.reason);
        format!("{head}: different because {reason}: {}", differs.iter().map(each).collect::<Vec<_>>().join("; "))
    };
    println!("{line}");
    let is_as_listed = match list {
        None => differs.is_empty(),
        Some(list) => list.ours == verdict && differs == list.fields.iter().copied().collect(),
    };
    // A flow that the peer moves may not move with us, either: that would be the same field, so it is looked at by itself.
    let has_moved = value(&seen, "way of the flow") == "moved";
    if is_as_listed && !has_moved { Ok(list.is_none()) } else { Err(line) }
}

fn value<'a>(fields: &'a Fields, field: &str) -> &'a str {
    fields.get(field).map_or("none", String::as_str)
}

/// The recorded IPv4 packet that is too big allows fragments, so its sender is not told by us; with "don't fragment" the message is the
/// one that the peer sent.
#[test]
fn too_big_with_dont_fragment() {
    let Some(recorded) = recorded::read() else { return };
    let suite = &recorded.suites["icmp_too_big"];
    let case = suite.cases.iter().find(|case| case.input()[12..14] == [0x08, 0x00]).expect("an IPv4 packet");
    let vips = vips(&recorded, suite);
    let input = case.input();
    let expected = Side::new(vips).describe(&input, action(&case.verdict), &case.output());
    let mut asked = spoil(&spoil(&input, ETHERNET + 6, &[0x40]), ETHERNET + 10, &[0, 0]);
    let sum = checksum(&[&asked[ETHERNET..ETHERNET + 20]]);
    asked[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    let (code, verdict, output) = Ours::new(&recorded, "icmp_too_big", suite).send(&asked);
    let seen = Side::new(vips).describe(&asked, code, &output);
    println!("icmp_too_big {} with \"don't fragment\": {verdict}: {seen:?}", case.number);
    assert_eq!(expected, seen);
}

//! A whole stream of replies through loss, repetition and any cutting: what the client puts together, and what it acknowledges.

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::stream::distance;
use super::*;

/// The client's side of TCP: bytes by their place, each of which may come any number of times but never differently.
#[derive(Default)]
struct Receiver {
    bytes: Vec<Option<u8>>,
}

impl Receiver {
    fn take(&mut self, start: u32, tcp: &Tcp) {
        let at = usize::try_from(distance(start, tcp.seq)).unwrap();
        let end = at + tcp.payload.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, None);
        }
        for (place, &byte) in self.bytes[at..end].iter_mut().zip(&tcp.payload) {
            assert!(place.is_none_or(|known| known == byte), "a byte came twice, and not the same");
            *place = Some(byte);
        }
    }

    /// Bytes from the begin without a hole.
    fn in_order(&self) -> Vec<u8> {
        self.bytes.iter().map_while(|byte| *byte).collect()
    }
}

/// Addresses of all lengths, so that replies grow, shrink and stay.
fn ends() -> impl Strategy<Value = Translation> {
    let address = prop_oneof![Just("9.9.9.9"), Just("10.0.0.11"), Just("198.51.100.100"), Just("203.0.113.200")];
    (address.clone(), address)
        .prop_filter("two hosts", |(vip, real)| vip != real)
        .prop_map(|(vip, real)| translation("192.0.2.7:4000", &format!("{vip}:21"), &format!("{real}:21")))
}

fn announce(end: std::net::SocketAddr) -> String {
    let host = end.ip().to_string().replace('.', ",");
    format!("227 Entering Passive Mode ({host},195,80).\r\n")
}

proptest! {
    #[test]
    fn the_client_reads_one_text_with_the_vip(
        ends in ends(),
        start: u32,
        replies in prop::collection::vec("[13-6][0-9]{2} [a-z ]{0,30}\r\n", 0..4),
        steps in prop::collection::vec((any::<bool>(), any::<Index>(), any::<Index>(), any::<bool>()), 0..30),
        rounds in 1usize..4,
    ) {
        let mut wire = Wire::new(ends);
        let (mut sent, mut expected, mut receiver) = (String::new(), String::new(), Receiver::default());
        let seq = |at: usize| start.wrapping_add(at as u32);
        // Sends a stretch of what the server has said so far; `arrives` or is lost behind the director.
        let segment = |wire: &mut Wire, receiver: &mut Receiver, text: &str, from: usize, to: usize, arrives: bool| {
            let (seen, _) = wire.pass(FromReal, &data(seq(from), 0, &text[from..to]));
            if arrives {
                receiver.take(start, &seen);
            }
        };
        for round in 0..rounds {
            wire.client(1 + 6 * round as u32, "PASV\r\n");
            // The reply in one segment, with what comes before and behind; then any parts of all that was said, cut anywhere.
            let from = sent.len();
            for (text, end) in [(&mut sent, ends.real()), (&mut expected, ends.vip())] {
                *text += &replies.iter().take(round).map(String::as_str).collect::<String>();
                *text += &announce(end);
                *text += &replies.concat();
            }
            segment(&mut wire, &mut receiver, &sent, from, sent.len(), round % 2 == 0);
            for (arrives, a, b, acknowledges) in &steps {
                let (a, b) = (a.index(sent.len() + 1), b.index(sent.len() + 1));
                segment(&mut wire, &mut receiver, &sent, a.min(b), a.max(b), *arrives);
                let got = receiver.in_order();
                prop_assert_eq!(&got[..], &expected.as_bytes()[..got.len()]);
                if *acknowledges {
                    let ack = Tcp { seq: 1, ack: seq(got.len()), flags: ACK, ..Tcp::default() };
                    let acknowledged = distance(start, wire.pass(FromClient, &ack).0.ack) as usize;
                    prop_assert!(acknowledged <= sent.len());
                    prop_assert_eq!(acknowledged == sent.len(), got.len() == expected.len());
                    // Sent from there on, nothing is missing.
                    segment(&mut wire, &mut receiver, &sent, acknowledged, sent.len(), true);
                    prop_assert_eq!(receiver.in_order().len(), expected.len());
                }
            }
            segment(&mut wire, &mut receiver, &sent, 0, sent.len(), true);
            prop_assert_eq!(receiver.in_order(), expected.as_bytes());
        }
    }

    /// Cut anywhere when first sent: a reply names the VIP if the segment that ends its line holds its numbers, too.
    #[test]
    fn a_reply_is_changed_whole_or_not_at_all(
        ends in ends(),
        start: u32,
        cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let mut wire = Wire::new(ends);
        let (reply, after) = (announce(ends.real()), "150 Here\r\n");
        let sent = format!("{reply}{after}").repeat(3);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.index(sent.len())).collect();
        cuts.extend([0, sent.len()]);
        // A client asks when it has the last reply whole.
        cuts.extend([1, 2].map(|n| n * sent.len() / 3));
        cuts.sort_unstable();
        cuts.dedup();
        let (mut receiver, mut opened) = (Receiver::default(), 0);
        for pair in cuts.windows(2) {
            if pair[0] % (sent.len() / 3) == 0 {
                wire.client(1 + 6 * (pair[0] * 3 / sent.len()) as u32, "PASV\r\n");
            }
            let tcp = data(start.wrapping_add(pair[0] as u32), 0, &sent[pair[0]..pair[1]]);
            let (seen, output) = wire.pass(FromReal, &tcp);
            receiver.take(start, &seen);
            opened += output.opened.len();
        }
        let numbers = reply.find('(').unwrap() + 1;
        let expected: Vec<_> = (0..3)
            .map(|n| {
                let (first, last) = (n * sent.len() / 3 + numbers, n * sent.len() / 3 + reply.len());
                let is_whole = !cuts.iter().any(|cut| (first + 1..last).contains(cut));
                (is_whole, if is_whole { announce(ends.vip()) } else { reply.clone() })
            })
            .collect();
        let text: String = expected.iter().map(|(_, reply)| format!("{reply}{after}")).collect();
        prop_assert_eq!(receiver.in_order(), text.as_bytes());
        prop_assert_eq!(opened, expected.iter().filter(|(is_whole, _)| *is_whole).count());
    }
}

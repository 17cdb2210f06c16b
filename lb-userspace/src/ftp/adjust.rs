//! Sequence numbers of a stream in which text was replaced by text of another length.
//!
//! IPVS keeps one change of each direction (`ip_vs_seq`): `init_seq`, and how far numbers behind and before it are moved (`delta`,
//! `previous_delta`). That is right for segments that begin and end outside the replaced text, and while one change is on its way.
//! Here the last few changes are kept, with their text, so that every position of the sender's stream has one place in the stream
//! that the client sees, and any segment, however cut when it is sent again, becomes the same bytes at the same place.
//!
//! Two counts of one stream: the *sender's* and the *receiver's*. All arithmetic is modulo 2^32 (RFC 9293, section 3.4). Only replies
//! are ever changed (the client names its own address, which NAT leaves alone), so a connection has one of these.

use std::collections::VecDeque;

use super::stream::distance;

/// Changes that are kept. A client asks for the next data connection when it has read the reply to the last, so one suffices mostly;
/// an older one counts as `previous_delta` does.
const KEPT: usize = 8;
/// A change so far behind the sender's last byte is acknowledged for certain: no window is larger (RFC 7323, section 2.3).
const SETTLED: i32 = 1 << 30;

/// Text replaced by other text.
#[derive(Debug)]
struct Edit {
    /// Where it begins, as the sender counts.
    at: u32,
    /// Bytes that the sender sent; at least one.
    old: u32,
    /// Bytes that the receiver gets.
    new: Vec<u8>,
}

impl Edit {
    fn new_len(&self) -> u32 {
        self.new.len() as u32
    }

    fn growth(&self) -> u32 {
        self.new_len().wrapping_sub(self.old)
    }

    /// Bytes of the new text before a position in the old text. The end is the end, so pieces always make a whole.
    fn inside(&self, position: u32) -> u32 {
        if position >= self.old { self.new_len() } else { position.min(self.new_len()) }
    }
}

/// The changes of one stream, in order.
#[derive(Debug, Default)]
pub struct Edits {
    /// How far numbers before the first kept change are moved.
    base: u32,
    kept: VecDeque<Edit>,
    /// Where the last change ends, as the sender counts.
    end: u32,
    /// Taken over from an earlier daemon: before this place, as the sender and the receiver count, nobody knows how numbers are moved.
    floor: Option<[u32; 2]>,
}

/// What has to be known of a stream to go on behind its last change: all that outlives the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// How far numbers are moved; not 0.
    by: u32,
    /// From where on, as the sender counts.
    from: u32,
}

impl Moved {
    /// As one word, which is not 0.
    pub fn word(self) -> u64 {
        u64::from(self.from) << 32 | u64::from(self.by)
    }

    /// From that word; None where nothing is moved.
    pub fn of(word: u64) -> Option<Self> {
        let moved = Self { by: word as u32, from: (word >> 32) as u32 };
        (moved.by != 0).then_some(moved)
    }
}

impl Edits {
    /// Nothing changed.
    pub const fn new() -> Self {
        Self { base: 0, kept: VecDeque::new(), end: 0, floor: None }
    }

    /// Those of a stream that an earlier daemon has changed.
    pub fn resumed(moved: Moved) -> Self {
        let Moved { by, from } = moved;
        Self { base: by, kept: VecDeque::new(), end: from, floor: Some([from, from.wrapping_add(by)]) }
    }

    /// How numbers behind the last change are moved; None if they are not.
    pub fn moved(&self) -> Option<Moved> {
        let by = self.delta();
        (by != 0).then_some(Moved { by, from: self.end })
    }

    /// The place before which nobody knows how numbers are moved, as the sender and the receiver count.
    pub(super) const fn floor(&self) -> Option<[u32; 2]> {
        self.floor
    }

    /// Replaces `old` bytes from `at` on, as the sender counts, behind all earlier changes.
    pub(super) fn push(&mut self, at: u32, old: usize, new: Vec<u8>) {
        if self.kept.len() == KEPT {
            self.settle_first();
        }
        self.end = at.wrapping_add(old as u32);
        self.kept.push_back(Edit { at, old: old as u32, new });
    }

    /// Lets go of what no segment can reach any more, before numbers come round to it.
    pub(super) fn settle(&mut self, end: u32) {
        while self.kept.front().is_some_and(|first| distance(first.at, end) > SETTLED) {
            self.settle_first();
        }
        self.floor = self.floor.filter(|[from, _]| distance(*from, end) <= SETTLED);
    }

    fn settle_first(&mut self) {
        if let Some(first) = self.kept.pop_front() {
            self.base = self.base.wrapping_add(first.growth());
        }
    }

    /// Nothing is moved.
    pub fn is_empty(&self) -> bool {
        self.base == 0 && self.kept.is_empty()
    }

    /// How far numbers behind the last change are moved: `delta` of IPVS.
    pub fn delta(&self) -> u32 {
        self.kept.iter().fold(self.base, |delta, edit| delta.wrapping_add(edit.growth()))
    }

    /// The receiver's count of a position in the sender's.
    pub fn to_receiver(&self, seq: u32) -> u32 {
        let mut delta = self.base;
        for edit in &self.kept {
            let within = distance(edit.at, seq);
            if within < 0 {
                break;
            }
            if (within as u32) < edit.old {
                return edit.at.wrapping_add(delta).wrapping_add(edit.inside(within as u32));
            }
            delta = delta.wrapping_add(edit.growth());
        }
        seq.wrapping_add(delta)
    }

    /// The last position in the sender's count that the receiver's `seq` covers: for acknowledgements and right edges of SACK
    /// blocks, which never may claim a byte that the receiver has not got.
    pub fn to_sender(&self, seq: u32) -> u32 {
        let mut delta = self.base;
        for edit in &self.kept {
            let within = distance(edit.at.wrapping_add(delta), seq);
            if within < 0 {
                break;
            }
            if (within as u32) < edit.new_len() {
                return edit.at.wrapping_add((within as u32).min(edit.old - 1));
            }
            delta = delta.wrapping_add(edit.growth());
        }
        seq.wrapping_sub(delta)
    }

    /// The first position in the sender's count from which all is at or behind the receiver's `seq`: for left edges of SACK blocks.
    pub fn to_sender_from(&self, seq: u32) -> u32 {
        let last = self.to_sender(seq);
        // Inside a text that has grown there are places that no byte of the old one has.
        if self.to_receiver(last) == seq { last } else { last.wrapping_add(1) }
    }

    /// The bytes that the receiver gets for these of the sender's. They belong at [`to_receiver`](Self::to_receiver) of `seq`.
    pub fn apply(&self, seq: u32, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as i64;
        let mut out = Vec::with_capacity(payload.len() + 16);
        let mut done = 0;
        for edit in &self.kept {
            let begin = i64::from(distance(seq, edit.at));
            let (from, to) = (begin.max(0), (begin + i64::from(edit.old)).min(length));
            if from >= to {
                continue;
            }
            out.extend_from_slice(&payload[done..from as usize]);
            let text = edit.inside((from - begin) as u32) as usize..edit.inside((to - begin) as u32) as usize;
            out.extend_from_slice(&edit.new[text]);
            done = to as usize;
        }
        out.extend_from_slice(&payload[done..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_ipvs_outside_the_text() {
        let mut edits = Edits::new();
        assert!(edits.is_empty());
        edits.push(1000, 10, vec![b'x'; 13]);
        edits.push(2000, 10, vec![b'y'; 6]);
        // seq: previous_delta up to init_seq, delta behind; ack: the reverse.
        for (sender, receiver) in [(990, 990), (1000, 1000), (1010, 1013), (2000, 2003), (2010, 2009), (5000, 4999)] {
            assert_eq!(edits.to_receiver(sender), receiver);
            assert_eq!(edits.to_sender(receiver), sender);
            assert_eq!(edits.to_sender_from(receiver), sender);
        }
        assert_eq!(edits.delta(), (-1i32) as u32);
    }

    #[test]
    fn nothing_is_acknowledged_that_was_not_received() {
        let mut longer = Edits::new();
        longer.push(100, 2, b"abcd".to_vec());
        assert_eq!([100, 101, 102, 103, 104].map(|ack| longer.to_sender(ack)), [100, 101, 101, 101, 102]);
        assert_eq!([100, 101, 102, 103, 104].map(|left| longer.to_sender_from(left)), [100, 101, 102, 102, 102]);
        let mut shorter = Edits::new();
        shorter.push(100, 4, b"ab".to_vec());
        assert_eq!([100, 101, 102].map(|ack| shorter.to_sender(ack)), [100, 101, 104]);
        assert_eq!([100, 101, 102, 103].map(|left| shorter.to_sender_from(left)), [100, 101, 104, 105]);
    }

    #[test]
    fn old_changes_are_settled_before_numbers_come_round() {
        let mut edits = Edits::new();
        edits.push(0, 1, b"abc".to_vec());
        edits.settle(1 << 30);
        assert_eq!(edits.kept.len(), 1);
        edits.settle((1 << 30) + 1);
        assert_eq!((edits.kept.len(), edits.delta(), edits.is_empty()), (0, 2, false));
        assert_eq!(edits.to_receiver(1 << 31), (1 << 31) + 2);
        for n in 0..100 {
            edits.push(n * 10, 1, b"ab".to_vec());
        }
        assert_eq!((edits.kept.len(), edits.delta()), (KEPT, 102));
    }

    #[test]
    fn what_outlives_the_daemon_is_enough_behind_the_last_change() {
        let mut edits = Edits::new();
        assert_eq!(edits.moved(), None);
        edits.push(u32::MAX - 1, 10, vec![b'x'; 13]);
        let moved = edits.moved().unwrap();
        assert_eq!((moved, Moved::of(moved.word())), (Moved { by: 3, from: 8 }, Some(moved)));
        let mut resumed = Edits::resumed(moved);
        for position in [8, 9, 1000] {
            assert_eq!(resumed.to_receiver(position), edits.to_receiver(position));
            assert_eq!(resumed.to_sender(position + 3), edits.to_sender(position + 3));
        }
        assert_eq!((resumed.floor(), resumed.moved()), (Some([8, 11]), Some(moved)));
        resumed.settle(8 + (1 << 30) + 1);
        assert_eq!((resumed.floor(), resumed.moved()), (None, Some(moved)));
        resumed.push(2000, 4, vec![b'x'; 1]);
        assert_eq!((resumed.moved(), Moved::of(0), Moved::of(5 << 32)), (None, None, None), "back where they were");
    }

    /// Place, old length, new text.
    type Change = (usize, usize, Vec<u8>);

    /// Where a text's numbers begin, the text, and the changes in it.
    fn stream() -> impl Strategy<Value = (u32, Vec<u8>, Vec<Change>)> {
        let edit = (0usize..20, 1usize..20, prop::collection::vec(b'A'..=b'Z', 1..20));
        (any::<u32>(), prop::collection::vec(edit, 0..5), 1usize..40).prop_map(|(start, parts, tail)| {
            let mut at = 0;
            let edits: Vec<_> = parts
                .into_iter()
                .map(|(before, old, new)| {
                    let edit = (at + before, old, new);
                    at += before + old;
                    edit
                })
                .collect();
            (start, (0..at + tail).map(|n| b'a' + (n % 26) as u8).collect(), edits)
        })
    }

    proptest! {
        /// Segments cut anywhere, sent in any order and any number of times, make one and the same text.
        #[test]
        fn pieces_make_the_whole(
            (start, text, changes) in stream(),
            segments in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..20),
        ) {
            let mut edits = Edits::new();
            let (mut expected, mut done) = (Vec::<u8>::new(), 0);
            for (at, old, new) in changes {
                expected.extend(&text[done..at]);
                expected.extend(&new);
                done = at + old;
                edits.push(start.wrapping_add(at as u32), old, new);
            }
            expected.extend(&text[done..]);
            prop_assert_eq!(&edits.apply(start, &text), &expected);
            prop_assert_eq!(edits.delta(), (expected.len() as u32).wrapping_sub(text.len() as u32));
            for (a, b) in segments {
                let (a, b) = (a.index(text.len() + 1), b.index(text.len() + 1));
                let (from, to) = (a.min(b), a.max(b));
                let seq = start.wrapping_add(from as u32);
                let place = distance(start, edits.to_receiver(seq)) as usize;
                let bytes = edits.apply(seq, &text[from..to]);
                prop_assert_eq!(&expected[place..place + bytes.len()], &bytes[..]);
                let end = edits.to_receiver(start.wrapping_add(to as u32));
                prop_assert_eq!(distance(start, end) as usize, place + bytes.len(), "the next segment joins");
            }
            for seen in 0..=expected.len() as u32 {
                let (seen, last) = (start.wrapping_add(seen), edits.to_sender(start.wrapping_add(seen)));
                prop_assert!(distance(edits.to_receiver(last), seen) >= 0, "acknowledges what is not there");
                prop_assert!(distance(edits.to_receiver(last.wrapping_add(1)), seen) < 0, "acknowledges too little");
                let first = edits.to_sender_from(seen);
                prop_assert!(distance(seen, edits.to_receiver(first)) >= 0, "claims what is not there");
                prop_assert!((0..=1).contains(&distance(last, first)), "claims too little");
            }
        }
    }
}

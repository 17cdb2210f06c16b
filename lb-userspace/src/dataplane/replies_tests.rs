//! The reply table over plain memory. That the program reads what is written here is for `tests/rows/helper.rs` to show.

use lb_common::abi::connection::{Meta, State};
use lb_common::abi::settings::DEFAULT_TIMEOUTS;

use super::super::flows::Flow;
use super::super::pins::Buckets;
use super::*;

struct Memory([Mapped; 6]);

/// Connections of each family, rows of the reply table.
const CONNECTIONS: usize = 64;
const ROWS: usize = 2 * WAYS;

impl Memory {
    fn new() -> Self {
        let words = [ROWS, ROWS * RECORD, CONNECTIONS / 2, CONNECTIONS / 2, CONNECTIONS * 2, CONNECTIONS * 4];
        Self(words.map(Mapped::of_file))
    }

    fn replies(&self) -> Replies<'_> {
        let [index, records, ties_v4, ties_v6, v4, v6] = &self.0;
        let connections = Connections { v4, v6, buckets: [Buckets { first: 8, overflow: 8 }; 2], secret: [3, 5] };
        Replies { index, records, ties: [ties_v4, ties_v6], connections }
    }
}

fn begin(replies: &Replies<'_>, client: &str, real: &str) -> (At, Record) {
    let (client, real): (SocketAddr, SocketAddr) = (client.parse().unwrap(), real.parse().unwrap());
    let flow = Flow { service: 2, client, port: 20 };
    let meta = Meta::new(2, 7, State::Listen, 5);
    let (at, _) = replies.connections.begin(&flow, meta, 5, &DEFAULT_TIMEOUTS).unwrap();
    let (source, destination, ends) = ends(real, client);
    let record =
        Record { source, destination, ends: ends.0, identity: meta.identity(), key: flow.key(), ..Record::default() };
    (at, record)
}

fn end(replies: &Replies<'_>, at: &At) {
    replies.connections.meta(at.place).unwrap().store(Meta::FREE.0, Ordering::SeqCst);
}

#[test]
fn what_is_tied_is_found_from_both_sides_until_its_connection_ends() {
    for (client, real) in [("192.0.2.7:5001", "10.0.0.11:20"), ("[2001:db8::7]:5001", "[fd00::11]:20")] {
        let memory = Memory::new();
        let replies = memory.replies();
        let (at, record) = begin(&replies, client, real);
        let (client, real): (SocketAddr, SocketAddr) = (client.parse().unwrap(), real.parse().unwrap());
        assert_eq!((replies.find(real, client), replies.row_of(at.place)), (None, None));
        let row = replies.claim(at.place, &record).unwrap();
        assert_eq!((replies.find(real, client), replies.row_of(at.place)), (Some((row, record, at)), Some(row)));
        assert_eq!(replies.find(client, real), None);
        end(&replies, &at);
        assert_eq!((replies.find(real, client), replies.row_of(at.place)), (None, None));
    }
}

#[test]
fn ends_belong_to_one_living_connection() {
    let memory = Memory::new();
    let replies = memory.replies();
    let (first, record) = begin(&replies, "192.0.2.7:5001", "10.0.0.11:20");
    let row = replies.claim(first.place, &record).unwrap();
    // The same client on another port of the service: other key, equal ends.
    let flow = Flow { service: 2, client: "192.0.2.7:5001".parse().unwrap(), port: 21 };
    let (second, _) = replies.connections.begin(&flow, first.meta, 5, &DEFAULT_TIMEOUTS).unwrap();
    let other = Record { key: flow.key(), ..record };
    assert_eq!(replies.claim(second.place, &other), Err(NoRow::Taken));
    assert_eq!(replies.claim(first.place, &record), Ok(row), "its own");
    end(&replies, &first);
    assert_eq!(replies.claim(second.place, &other), Ok(row), "the row of one that is over");
}

#[test]
fn a_full_table_gives_rows_of_connections_that_are_over_and_no_others() {
    let memory = Memory::new();
    let replies = memory.replies();
    let mut tied = Vec::new();
    for port in 1.. {
        // Two buckets: every record may be in every row.
        let (at, record) = begin(&replies, &format!("192.0.2.7:{port}"), "10.0.0.11:20");
        match replies.claim(at.place, &record) {
            Ok(row) => tied.push((at, row)),
            Err(why) => {
                assert_eq!((why, tied.len()), (NoRow::Full, ROWS));
                let (over, row) = tied[5];
                end(&replies, &over);
                assert_eq!(replies.claim(at.place, &record), Ok(row));
                break;
            }
        }
    }
    let kept = tied.iter().enumerate().filter(|(number, _)| *number != 5);
    assert!(kept.into_iter().all(|(_, (at, row))| replies.row_of(at.place) == Some(*row)), "all others keep theirs");
}

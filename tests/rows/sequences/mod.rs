//! The schedulers' choices, written down from IPVS's rules. A line is one service, its servers in list order with their weights, and what
//! happens to it:
//!
//! ```text
//! acb      three new connections, and who takes them; "-" is refused
//! 2:ab     two to the third destination of a mark
//! est:aab  two connections of a and one of b become active, the oldest first
//! fin:a    the oldest active connection of a is closed; it is inactive from then on
//! rst:a    the same by a reset; the oldest half-open one is established for it where no other is
//! gone     what was closed is forgotten
//! a=3 c+5  another weight for a; a new server c in front of the list
//! b!       b is removed
//! a<3/2    a takes no more from 3 connections on, until it has less than 2; without "/2" until it has less than 3/4
//! settle   numbers of removed servers are free for others
//! day      a day passes for what is remembered of destinations
//! ```
//!
//! Words in front of the servers: `udp`, and the service's flags. The sequences of sh, dh and mh come from `scripts/rings.py`, those of
//! twos from its rule and the random numbers of a cursor that begins at 0.

mod hashed;
mod least;
mod local;
mod prefixes;
mod turns;
mod weighted;

use std::collections::BTreeMap;

use lb_common::abi::service::{flag, scheduler};
use lb_tests::served::Served;

/// What it is about, servers, what happens.
type Line = (&'static str, &'static str, &'static str);

/// Runs the lines of a scheduler, ten at least.
fn check(kind: u8, lines: &[Line]) {
    assert!(lines.len() >= 10, "only {} lines", lines.len());
    for line in lines {
        Run::new(kind, line).run();
    }
}

struct Run<'a> {
    served: Served,
    line: &'a Line,
    /// Connections of each server that are half-open, active and closed, oldest first.
    connections: BTreeMap<u8, Vec<usize>>,
    opened: usize,
}

fn number(name: char) -> u8 {
    name as u8 - b'a' + 1
}

fn name(number: Option<u8>) -> char {
    number.map_or('-', |number| char::from(number - 1 + b'a'))
}

impl<'a> Run<'a> {
    fn new(kind: u8, line: &'a Line) -> Self {
        let (mut flags, mut is_udp, mut slots, mut servers) = (0, false, None, Vec::new());
        for word in line.1.split_whitespace() {
            match word {
                "udp" => is_udp = true,
                "udp-active" => flags |= flag::UDP_ACTIVE,
                "port" => flags |= flag::PORT,
                "fallback" => flags |= flag::FALLBACK,
                "251" => slots = Some(251),
                server => {
                    let (name, weight) = server.split_at(1);
                    servers.push((number(name.chars().next().unwrap()), weight.parse().unwrap()));
                }
            }
        }
        let is_by_destination = matches!(kind, scheduler::DH | scheduler::LBLC | scheduler::LBLCR);
        let mut served = Served::new(kind, flags, is_udp, if is_by_destination { 8 } else { 1 });
        served.seed(0);
        served.slots = slots.unwrap_or(served.slots);
        served.set(&servers);
        Self { served, line, connections: BTreeMap::new(), opened: 0 }
    }

    fn run(&mut self) {
        for word in self.line.2.split_whitespace() {
            let at = format!("{}: {} ({}) at {word}", self.line.0, self.line.2, self.line.1);
            if word == "gone" {
                // Only what is left has a place in the list of connections.
                self.forget();
            } else if word == "settle" {
                self.served.settle();
            } else if word == "day" {
                self.served.age_destinations(86_401);
            } else if let Some((what, names)) = word.split_once(':') {
                if let Ok(destination) = what.parse() {
                    self.open(destination, names, &at);
                } else {
                    names.chars().for_each(|name| self.change(what, number(name), &at));
                }
            } else if let Some((server, rest)) = server_word(word) {
                self.server(server, rest);
            } else {
                self.open(0, word, &at);
            }
        }
    }

    fn open(&mut self, destination: u8, expected: &str, at: &str) {
        let mut got = String::new();
        for _ in expected.chars() {
            let taken = self.served.open(destination);
            got.push(name(taken));
            if let Some(server) = taken {
                self.connections.entry(server).or_default().push(self.opened);
                self.opened += 1;
            }
        }
        assert_eq!(got, expected, "{at}");
    }

    /// A packet of the oldest connection of a server that it means something to.
    fn change(&mut self, what: &str, server: u8, at: &str) {
        let connections = self.connections.get(&server).cloned().unwrap_or_default();
        let served = &mut self.served;
        let changed = connections.into_iter().find(|connection| match what {
            "est" => served.establish(*connection),
            "fin" => served.end(*connection, false),
            _ => {
                served.establish(*connection);
                served.end(*connection, true)
            }
        });
        assert!(changed.is_some(), "{at}: no such connection");
    }

    fn forget(&mut self) {
        let kept = self.served.forget_ended();
        for connections in self.connections.values_mut() {
            *connections = connections.iter().filter_map(|old| kept.iter().position(|new| new == old)).collect();
        }
        self.opened = kept.len();
    }

    fn server(&mut self, server: u8, rest: &str) {
        let (what, value) = rest.split_at(1);
        match what {
            "!" => self.served.remove(server),
            "=" => self.served.weigh(server, value.parse().unwrap()),
            "+" => self.served.add(server, value.parse().unwrap()),
            _ => {
                let (upper, lower) = value.split_once('/').unwrap_or((value, "0"));
                self.served.limit(server, upper.parse().unwrap(), lower.parse().unwrap());
            }
        }
    }
}

/// A word about one server: its number, and the rest.
fn server_word(word: &str) -> Option<(u8, &str)> {
    let rest = word.get(1..).filter(|rest| rest.starts_with(['!', '=', '+', '<']))?;
    Some((number(word.chars().next()?), rest))
}

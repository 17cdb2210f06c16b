//! Persistence templates from user space: how long they stay, and which of them have had an open connection.
//!
//! IPVS counts the connections that a template has made. Here a connection has no room for who made it: when templates have had their
//! time, all connections are looked through once, and those templates stay that one of them would have been made by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use lb_common::abi::connection::{Meta, State};
use lb_common::abi::real::method;

use super::ageing::Ageing;
use super::connections::{Connection, ends_v4, ends_v6, read};
use super::tables::Tables;

/// What a template stands under: service, masked client, port.
type Key = (u32, IpAddr, u16);

/// Seconds, in ticks, that a template stays whose connections are not gone when its time is over (`ip_vs_conn_expire`).
const LONGER: u32 = 60;

impl Tables {
    /// Frees, keeps or assures templates: `templates` have had their time, or have had no open connection yet. Returns how many were freed.
    pub(super) fn sweep_templates(&self, now: u32, ageing: &Ageing, templates: &[(bool, usize, Meta)]) -> u64 {
        let mut wanted: BTreeMap<Key, Vec<(bool, usize, Meta)>> = BTreeMap::new();
        let mut freed = 0;
        for (is_v6, index, meta) in templates {
            let word = self.word(*is_v6, *index);
            match (ageing.service(meta.service()), self.key_at(*is_v6, *index)) {
                (Some((group, _)), Some((client, port))) if self.is_template_alive(*meta, group) => {
                    wanted.entry((group, client, port)).or_default().push((*is_v6, *index, *meta));
                }
                // Its service has no persistence any more, or its real is gone.
                _ => freed += u64::from(self.free(word, *meta)),
            }
        }
        let (mut used, mut assured) = (BTreeSet::new(), BTreeSet::new());
        self.each_connection(|connection| {
            if let Some(key) = maker(ageing, &connection).filter(|key| wanted.contains_key(key)) {
                if self.has_been_open(&connection) {
                    assured.insert(key);
                }
                used.insert(key);
            }
        });
        for (key, entries) in wanted {
            for (is_v6, index, meta) in entries {
                let word = self.word(is_v6, index);
                if ageing.is_expired(meta, now) && !used.contains(&key) {
                    freed += u64::from(self.free(word, meta));
                    continue;
                }
                let state = if assured.contains(&key) { State::TemplateAssured } else { meta.state() };
                let seen = if ageing.is_expired(meta, now) {
                    now.wrapping_add(LONGER).wrapping_sub(ageing.timeout(meta))
                } else {
                    meta.last_seen()
                };
                let next = meta.with(state, seen);
                if next != meta {
                    // A packet that was faster has stamped it: the next second's turn.
                    let _ = word.compare_exchange(meta.0, next.0, Ordering::SeqCst, Ordering::Relaxed);
                }
            }
        }
        freed
    }

    /// Frees the templates that lead to these reals. A real has no connections when its number becomes free, but it may have templates, and
    /// the number's next owner is somebody else.
    pub(super) fn forget_templates(&self, reals: &BTreeSet<u32>) {
        for (table, entry) in [self.table(false), self.table(true)] {
            for word in table.parts().flat_map(|part| part.iter().skip(entry - 1).step_by(entry)) {
                let mut meta = Meta(word.load(Ordering::Acquire));
                // A packet may stamp it meanwhile.
                while meta.is_live() && meta.state().is_template() && reals.contains(&meta.real()) {
                    if self.free(word, meta) {
                        break;
                    }
                    meta = Meta(word.load(Ordering::Acquire));
                }
            }
        }
    }

    /// Number of templates that lead to each real.
    pub fn template_counts(&self) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        self.each_connection(|connection| {
            if connection.meta.state().is_template() {
                *counts.entry(connection.meta.real()).or_default() += 1;
            }
        });
        counts
    }

    /// What tells which templates a listing shows as assured: as soon as a connection made by one was open.
    pub fn assured(&self, ageing: &Ageing) -> Assured {
        let mut keys = BTreeSet::new();
        // Without persistence nothing is made by templates, and the tables need not be walked.
        if ageing.has_templates() {
            self.each_connection(|connection| {
                keys.extend(maker(ageing, &connection).filter(|_| self.has_been_open(&connection)));
            });
        }
        Assured { keys }
    }

    /// It is, or was, open both ways. Of UDP the director sees that where the answers come back through it.
    fn has_been_open(&self, connection: &Connection) -> bool {
        match connection.meta.state() {
            State::Established
            | State::FinWait
            | State::TimeWait
            | State::CloseWait
            | State::LastAck
            | State::SctpShutdownSent
            | State::SctpShutdownReceived
            | State::SctpShutdownAckSent => true,
            State::Close | State::Udp => self.is_answered(connection.meta),
            _ => false,
        }
    }

    /// The real's answers come back through the director, and some have.
    fn is_answered(&self, meta: Meta) -> bool {
        self.real(meta.real()).is_some_and(|real| method::is_translated(real.method))
            && self.real_sum(meta.real()).reply_packets > 0
    }

    fn word(&self, is_v6: bool, index: usize) -> &std::sync::atomic::AtomicU64 {
        let entry = self.entry(is_v6, index);
        &entry[entry.len() - 1]
    }

    /// Client and port of a template's entry; None when it is another's by now.
    fn key_at(&self, is_v6: bool, index: usize) -> Option<(IpAddr, u16)> {
        let entry = self.entry(is_v6, index);
        let (client, port) = if is_v6 { ends_v6(read::<3>(entry)?.1) } else { ends_v4(read::<1>(entry)?.1[0]) };
        Some((client.ip(), port))
    }
}

/// Templates that have made a connection which was open.
pub struct Assured {
    keys: BTreeSet<Key>,
}

impl Assured {
    /// The state of a connection, or of a template.
    pub fn state(&self, ageing: &Ageing, connection: &Connection) -> State {
        let state = connection.meta.state();
        let group = ageing.service(connection.meta.service()).map(|(group, _)| group);
        let is_assured = |group| self.keys.contains(&(group, connection.client.ip(), connection.port));
        if state.is_template() && group.is_some_and(is_assured) { State::TemplateAssured } else { state }
    }
}

/// The template that a connection was made by, if its service is persistent.
fn maker(ageing: &Ageing, connection: &Connection) -> Option<Key> {
    let (group, service) = ageing.service(connection.meta.service())?;
    if !service.is_persistent || connection.meta.state().is_template() {
        return None;
    }
    let client = crate::model::mark::network(connection.client.ip(), service.netmask);
    Some((group, client, if service.is_any_port { 0 } else { connection.port }))
}

//! The reply table from user space ([`lb_common::abi::reply`]): records are found, and claimed by the rules of the program's own ties
//! (`lb-ebpf/src/director/stage/tie.rs`), of which this is NAT's part.
//!
//! The program takes a row while its connection is not tied yet, as we do: whoever loses it finds that its connection is not tied to
//! a record of its own, and counts as refused or is tied anew by its next packet.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::abi::reply::{Ends, Place, Record, WAYS, Word};
use lb_common::algo::hash;
use lb_common::wire::transport::TCP;

use super::flows::{At, Connections, ports, words};
use super::mapped::Mapped;

/// Words of a record.
const RECORD: usize = size_of::<Record>() / 8;

/// The reply table, its ties, and the connections that they belong to.
#[derive(Clone, Copy)]
pub(super) struct Replies<'a> {
    pub(super) index: &'a Mapped,
    pub(super) records: &'a Mapped,
    /// Of the IPv4 and the IPv6 table: two ties a word.
    pub(super) ties: [&'a Mapped; 2],
    pub(super) connections: Connections<'a>,
}

/// Why a connection is not tied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRow {
    /// Another connection has these ends.
    Taken,
    /// Every row near is a live connection's, or somebody was faster.
    Full,
}

/// Source, destination and [`Ends`] of TCP answers.
pub(super) fn ends(source: SocketAddr, destination: SocketAddr) -> ([u64; 2], [u64; 2], Ends) {
    let ends = Ends::new(ports(source.port(), destination.port()), TCP, source.is_ipv6());
    (words(source.ip()), words(destination.ip()), ends)
}

fn has_ends(record: &Record, wanted: &Record) -> bool {
    record.ends == wanted.ends && record.source == wanted.source && record.destination == wanted.destination
}

impl<'a> Replies<'a> {
    fn hash(&self, record: &Record) -> u64 {
        let Record { source, destination, ends, .. } = record;
        let secret = self.connections.secret;
        match Ends(*ends).is_v6() {
            true => hash::ends_v6(*source, *destination, *ends, secret),
            false => hash::ends_v4(source[0] | destination[0] << 32, *ends, secret),
        }
    }

    /// The rows where a record with this hash may be.
    fn rows(&self, hash: u64) -> impl Iterator<Item = usize> + Clone + use<> {
        let mask = (self.index.word_count() / WAYS - 1) as u64;
        let buckets = [hash::first_bucket(hash, mask), hash::second_bucket(hash, mask)];
        buckets.into_iter().flat_map(|bucket| (0..WAYS).map(move |way| bucket as usize * WAYS + way))
    }

    fn word_at(&self, row: usize) -> &'a AtomicU64 {
        &self.index.words(row, 1)[0]
    }

    fn word(&self, row: usize) -> Word {
        Word(self.word_at(row).load(Ordering::SeqCst))
    }

    fn exchange(&self, row: usize, old: Word, new: Word) -> bool {
        self.word_at(row).compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn publish(&self, row: usize, new: Word) {
        self.word_at(row).store(new.0, Ordering::SeqCst);
    }

    /// The words of a row's record.
    pub(super) fn words(&self, row: u32) -> &'a [AtomicU64] {
        self.records.words(row as usize * RECORD, RECORD)
    }

    /// A row's record. It counts if the row's word is the same before and after.
    pub(super) fn record(&self, row: u32) -> Record {
        let words = self.words(row);
        let word = |at: usize| words[at].load(Ordering::SeqCst);
        Record {
            source: [word(0), word(1)],
            destination: [word(2), word(3)],
            ends: word(4),
            virtual_address: [word(5), word(6)],
            identity: word(7),
            key: [word(8), word(9), word(10)],
            link: [word(11), word(12)],
            mtu: word(13),
            first_acknowledgement: word(14),
            moved: word(15),
        }
    }

    fn write(&self, row: usize, record: &Record) {
        let Record {
            source,
            destination,
            ends,
            virtual_address,
            identity,
            key,
            link,
            mtu,
            first_acknowledgement,
            moved,
        } = *record;
        let (s, d, v) = (source, destination, virtual_address);
        let words = [s[0], s[1], d[0], d[1], ends, v[0], v[1], identity, key[0], key[1], key[2], link[0], link[1], mtu];
        for (stored, word) in self.words(row as u32).iter().zip(words.into_iter().chain([first_acknowledgement, moved]))
        {
            stored.store(word, Ordering::SeqCst);
        }
    }

    /// The record of answers with these ends, its row, and the connection that it is part of.
    pub(super) fn find(&self, source: SocketAddr, destination: SocketAddr) -> Option<(u32, Record, At)> {
        let (source, destination, ends) = ends(source, destination);
        let wanted = Record { source, destination, ends: ends.0, ..Record::default() };
        let hash = self.hash(&wanted);
        self.rows(hash).find_map(|row| {
            let word = self.word(row);
            let record =
                word.has_tag(hash).then(|| self.record(row as u32)).filter(|found| has_ends(found, &wanted))?;
            let at = self.connection(word, &record)?;
            (self.word(row) == word).then_some((row as u32, record, at))
        })
    }

    /// The connection of a row with that word and record; None when it is over.
    fn connection(&self, word: Word, record: &Record) -> Option<At> {
        let (key, meta) = self.connections.read(word.place())?;
        (record.is_of(meta) && key == record.key).then_some(At { place: word.place(), meta })
    }

    /// The row that a connection is tied to, if it is.
    pub(super) fn row_of(&self, place: Place) -> Option<u32> {
        let row = self.tie(place).checked_sub(1).filter(|row| (*row as usize) < self.index.word_count())?;
        let word = self.word(row as usize);
        let is_ours = word.is_live() && word.place() == place && self.connection(word, &self.record(row)).is_some();
        is_ours.then_some(row)
    }

    /// The row, which an index word that was seen to be `word` belongs to, is a live connection's: it must stay.
    fn is_used(&self, row: usize, word: Word) -> bool {
        let is_tied = || self.tie(word.place()) == row as u32 + 1;
        word.is_live() && self.connection(word, &self.record(row as u32)).is_some() && is_tied()
    }

    /// Ties a connection to a row of its own for `record`, and gives the row. Its answers find back from then on.
    pub(super) fn claim(&self, place: Place, record: &Record) -> Result<u32, NoRow> {
        // An earlier connection with the same key was in the same place, and its record is as good.
        if let Some(row) = self.row_of(place).filter(|row| has_ends(&self.record(*row), record)) {
            self.write(row as usize, record);
            return Ok(row);
        }
        let (old, hash) = (self.tie(place), self.hash(record));
        let (row, word) = self.room(record, hash)?;
        if !self.exchange(row, word, Word::BUSY) {
            return Err(NoRow::Full);
        }
        self.write(row, record);
        self.publish(row, Word::new(hash, place));
        let is_twice =
            self.rows(hash).any(|other| other != row && self.has_record(other, self.word(other), record, hash));
        if is_twice {
            self.publish(row, Word::FREE);
            return Err(NoRow::Taken);
        }
        if !self.exchange_tie(place, old, row as u32 + 1) {
            self.publish(row, Word::FREE);
            return Err(NoRow::Full);
        }
        Ok(row as u32)
    }

    fn has_record(&self, row: usize, word: Word, record: &Record, hash: u64) -> bool {
        word.has_tag(hash) && has_ends(&self.record(row as u32), record)
    }

    /// A row for the record, and its word: the one that had these ends before, or a free one, or one whose connection is gone.
    fn room(&self, record: &Record, hash: u64) -> Result<(usize, Word), NoRow> {
        let rows = self.rows(hash).map(|row| (row, self.word(row)));
        if let Some((row, word)) = rows.clone().find(|(row, word)| self.has_record(*row, *word, record, hash)) {
            return if self.is_used(row, word) { Err(NoRow::Taken) } else { Ok((row, word)) };
        }
        let free = rows.clone().find(|(_, word)| *word == Word::FREE);
        free.or_else(|| rows.clone().find(|(row, word)| word.is_live() && !self.is_used(*row, *word)))
            .ok_or(NoRow::Full)
    }

    /// Number of a connection's row plus one; 0 if it never had one.
    fn tie(&self, place: Place) -> u32 {
        self.ties_of(place).half(place.index() as usize).unwrap_or(0)
    }

    /// Replaces a tie if it still is `old`. True when it was.
    fn exchange_tie(&self, place: Place, old: u32, new: u32) -> bool {
        self.ties_of(place).change_half(place.index() as usize, |tie| (tie == old).then_some(new))
    }

    fn ties_of(&self, place: Place) -> &'a Mapped {
        self.ties[usize::from(place.is_v6())]
    }
}

#[cfg(test)]
#[path = "replies_tests.rs"]
mod tests;

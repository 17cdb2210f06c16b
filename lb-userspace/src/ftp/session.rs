//! What a control connection has said so far, and what follows from what it says next.

use std::net::{SocketAddr, SocketAddrV4};

use lb_common::algo::tcp_state::flag;

use super::adjust::{Edits, Moved};
use super::command::{self, Command};
use super::expect::{Expectation, Kind, LIFETIME};
use super::reply::{Replies, Reply};
use super::segment::Segment;
use super::stream::{Lines, distance};
use super::{Direction, Notice, Translation};

/// Ports below belong to other services than FTP's data.
const FIRST_DATA_PORT: u16 = 1024;
/// How far ahead commands may come: a window without scaling, which clients never fill with commands. A forged segment has to hit
/// one of these numbers of 2^32 to spoil the reading.
const COMMANDS_REACH: i32 = 65_535;
/// Replies come from a server of our own, and may be long.
const REPLIES_REACH: i32 = i32::MAX;

/// A command whose reply will open a data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaiting {
    /// 227.
    Passive,
    /// 229.
    ExtendedPassive,
}

/// The state of one control connection.
#[derive(Debug)]
pub struct Session {
    commands: Lines,
    replies: Lines,
    form: Replies,
    edits: Edits,
    awaiting: Option<Awaiting>,
    encrypted: bool,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

/// What a segment gave rise to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) expectations: Vec<Expectation>,
    pub(super) notices: Vec<Notice>,
}

impl Session {
    /// Nothing said yet.
    pub const fn new() -> Self {
        Self {
            commands: Lines::new(COMMANDS_REACH),
            replies: Lines::new(REPLIES_REACH),
            form: Replies::new(),
            edits: Edits::new(),
            awaiting: None,
            encrypted: false,
        }
    }

    /// One that an earlier daemon has followed. What was said before is not known.
    pub fn resumed(moved: Moved) -> Self {
        Self { edits: Edits::resumed(moved), ..Self::new() }
    }

    /// The segment speaks of a part of the replies that an earlier daemon has changed, and nobody knows how.
    pub(super) fn is_lost(&self, direction: Direction, segment: &Segment<'_>) -> bool {
        self.edits.floor().is_some_and(|[sent, received]| match direction {
            Direction::FromClient => segment.has(flag::ACK) && distance(segment.ack, received) > 0,
            Direction::FromReal => distance(segment.seq, sent) > 0,
        })
    }

    /// The changes made to the replies.
    pub const fn edits(&self) -> &Edits {
        &self.edits
    }

    /// The next byte from there has this sequence number, as far as is known.
    pub(super) fn continues_at(&self, direction: Direction, seq: u32) -> bool {
        match direction {
            Direction::FromClient => self.commands.continues_at(seq),
            Direction::FromReal => self.replies.continues_at(seq),
        }
    }

    /// Reads the data of a segment whose first byte has number `seq`. What has to be changed in replies is in the edits afterwards.
    pub(super) fn read(&mut self, direction: Direction, seq: u32, data: &[u8], translation: &Translation) -> Found {
        let mut found = Found::default();
        match direction {
            Direction::FromClient => {
                for line in self.commands.take(seq, data).lines {
                    if let Some(command) = command::parse(&line.text).filter(|_| !self.encrypted) {
                        self.command(command, translation, &mut found);
                    }
                }
            }
            Direction::FromReal => {
                let fresh = self.replies.take(seq, data);
                if fresh.gap {
                    self.form.lost();
                }
                for line in fresh.lines {
                    if let Some(reply) = self.form.next(&line.text).filter(|_| !self.encrypted) {
                        let sent = distance(line.start, fresh.from).max(0) as usize;
                        self.reply(&reply, line.start, sent, translation, &mut found);
                    }
                }
                if let Some(end) = self.replies.end() {
                    self.edits.settle(end);
                }
            }
        }
        found
    }

    fn command(&mut self, command: Command, translation: &Translation, found: &mut Found) {
        self.awaiting = match command {
            // 227 has no room for an IPv6 address.
            Command::Passive if translation.family() == 1 => Some(Awaiting::Passive),
            Command::ExtendedPassive(family) if family.is_none_or(|family| family == translation.family()) => {
                Some(Awaiting::ExtendedPassive)
            }
            Command::Passive | Command::ExtendedPassive(_) | Command::ExtendedPassiveAll => None,
            Command::Active(end) => {
                match active(end, translation) {
                    Ok(expectation) => found.expectations.push(expectation),
                    Err(notice) => found.notices.push(notice),
                }
                None
            }
        };
    }

    /// `sent` bytes of the line, which began at `start`, were in earlier segments and have been passed on.
    fn reply(&mut self, reply: &Reply, start: u32, sent: usize, translation: &Translation, found: &mut Found) {
        let opened = match (reply, self.awaiting) {
            (Reply::Encrypted, _) => {
                self.encrypted = true;
                return found.notices.push(Notice::Encrypted);
            }
            (Reply::Passive { text, end }, Some(Awaiting::Passive)) => passive(*end, translation).and_then(|opened| {
                if let SocketAddr::V4(vip) = opened.vip
                    && *end != opened.vip
                {
                    if text.start < sent {
                        return Err(Notice::SplitReply);
                    }
                    self.edits.push(start.wrapping_add(text.start as u32), text.len(), announced(vip));
                }
                Ok(opened)
            }),
            (Reply::ExtendedPassive(port), Some(Awaiting::ExtendedPassive)) => {
                passive(SocketAddr::new(translation.real().ip(), *port), translation)
            }
            _ => return,
        };
        self.awaiting = None;
        match opened {
            Ok(expectation) => found.expectations.push(expectation),
            Err(notice) => found.notices.push(notice),
        }
    }
}

/// The data connection that the client asks for by `PORT` or `EPRT`.
fn active(end: SocketAddr, translation: &Translation) -> Result<Expectation, Notice> {
    let (client, vip, real) = (translation.client(), translation.vip(), translation.real());
    if end.ip() != client.ip() {
        return Err(Notice::NotTheClient(end.ip()));
    }
    let port = data_port(end.port())?;
    let below = |control: SocketAddr| {
        let port = control.port().checked_sub(1).filter(|&port| port != 0).ok_or(Notice::LowPort(0))?;
        Ok(SocketAddr::new(control.ip(), port))
    };
    Ok(Expectation {
        kind: Kind::Active,
        client: client.ip(),
        client_port: Some(port),
        vip: below(vip)?,
        real: below(real)?,
        lifetime: LIFETIME,
    })
}

/// The data connection that the server has announced. One that names the VIP (`pasv_address` of vsftpd, `MasqueradeAddress` of
/// ProFTPD) means itself, too: what it announced leads to it.
fn passive(end: SocketAddr, translation: &Translation) -> Result<Expectation, Notice> {
    let (vip, real) = (translation.vip().ip(), translation.real().ip());
    if end.ip() != real && end.ip() != vip {
        return Err(Notice::NotTheReal(end.ip()));
    }
    let port = data_port(end.port())?;
    Ok(Expectation {
        kind: Kind::Passive,
        client: translation.client().ip(),
        client_port: None,
        vip: SocketAddr::new(vip, port),
        real: SocketAddr::new(real, port),
        lifetime: LIFETIME,
    })
}

fn data_port(port: u16) -> Result<u16, Notice> {
    if port < FIRST_DATA_PORT { Err(Notice::LowPort(port)) } else { Ok(port) }
}

/// How 227 writes an address and port.
fn announced(end: SocketAddrV4) -> Vec<u8> {
    let ([a, b, c, d], [high, low]) = (end.ip().octets(), end.port().to_be_bytes());
    format!("{a},{b},{c},{d},{high},{low}").into_bytes()
}

//! Words of a command line to options, as popt scans them: what ipvsadm 1.31 was built with.
//!
//! Long names are taken whole, never shortened. Short ones may stand together, and the first that takes a value takes the rest of its
//! word. Words that are no options may stand anywhere and are left over. An option that may have a value takes the next word unless
//! that one begins with a dash.

use std::collections::VecDeque;

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    MayValue,
}

/// Every option of ipvsadm: its tag, long name, letter, and what it takes.
macro_rules! options {
    ($($tag:ident $long:literal $letter:literal $takes:ident;)+) => {
        /// An option.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Tag { $($tag),+ }

        /// Tag, long name, letter (0 for none), value.
        const OPTIONS: &[(Tag, &str, char, Takes)] = &[$((Tag::$tag, $long, $letter, Takes::$takes)),+];
    };
}

options! {
    AddService "add-service" 'A' Nothing;
    EditService "edit-service" 'E' Nothing;
    DeleteService "delete-service" 'D' Nothing;
    Clear "clear" 'C' Nothing;
    Zero "zero" 'Z' Nothing;
    Restore "restore" 'R' Nothing;
    Save "save" 'S' Nothing;
    AddServer "add-server" 'a' Nothing;
    EditServer "edit-server" 'e' Nothing;
    DeleteServer "delete-server" 'd' Nothing;
    List "list" 'L' Nothing;
    ListToo "" 'l' Nothing;
    Set "set" '\0' Nothing;
    Help "help" 'h' Nothing;
    Version "version" 'v' Nothing;
    StartDaemon "start-daemon" '\0' Value;
    StopDaemon "stop-daemon" '\0' Value;
    TcpService "tcp-service" 't' Value;
    UdpService "udp-service" 'u' Value;
    SctpService "sctp-service" '\0' Value;
    FwmarkService "fwmark-service" 'f' Value;
    Scheduler "scheduler" 's' Value;
    Persistent "persistent" 'p' MayValue;
    Netmask "netmask" 'M' Value;
    RealServer "real-server" 'r' Value;
    Masquerading "masquerading" 'm' Nothing;
    Ipip "ipip" 'i' Nothing;
    Gatewaying "gatewaying" 'g' Nothing;
    Weight "weight" 'w' Value;
    UThreshold "u-threshold" 'x' Value;
    LThreshold "l-threshold" 'y' Value;
    Numeric "numeric" 'n' Nothing;
    Connection "connection" 'c' Nothing;
    McastInterface "mcast-interface" '\0' Value;
    McastGroup "mcast-group" '\0' Value;
    McastPort "mcast-port" '\0' Value;
    McastTtl "mcast-ttl" '\0' Value;
    SyncMaxlen "sync-maxlen" '\0' Value;
    Syncid "syncid" '\0' Value;
    Timeout "timeout" '\0' Nothing;
    Daemon "daemon" '\0' Nothing;
    Stats "stats" '\0' Nothing;
    Rate "rate" '\0' Nothing;
    Thresholds "thresholds" '\0' Nothing;
    PersistentConn "persistent-conn" '\0' Nothing;
    TunInfo "tun-info" '\0' Nothing;
    NoSort "nosort" '\0' Nothing;
    Sort "sort" '\0' Nothing;
    Exact "exact" 'X' Nothing;
    Ipv6 "ipv6" '6' Nothing;
    Ops "ops" 'o' Nothing;
    Pe "pe" '\0' Value;
    SchedFlags "sched-flags" 'b' Value;
    TunType "tun-type" '\0' Value;
    TunPort "tun-port" '\0' Value;
    TunNocsum "tun-nocsum" '\0' Nothing;
    TunCsum "tun-csum" '\0' Nothing;
    TunRemcsum "tun-remcsum" '\0' Nothing;
}

/// Why the scan stopped: the word and what popt says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanError {
    /// The word as it was given.
    pub(super) word: String,
    /// What is wrong with it.
    pub(super) what: &'static str,
}

/// Goes through the words of a command line.
#[derive(Debug)]
pub(super) struct Scanner {
    words: VecDeque<String>,
    /// Letters of a word of short options that were not looked at yet.
    letters: String,
    /// The word taken last, as messages name it.
    word: String,
    left_over: VecDeque<String>,
}

impl Scanner {
    /// The words after the program's name.
    pub(super) fn new(words: impl IntoIterator<Item = String>) -> Self {
        Self {
            words: words.into_iter().collect(),
            letters: String::new(),
            word: String::new(),
            left_over: VecDeque::new(),
        }
    }

    /// The next option and its value; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(Tag, Option<String>)>, ScanError> {
        if let Some(letter) = self.letters.chars().next() {
            self.letters.drain(..letter.len_utf8());
            return self.short(letter).map(Some);
        }
        while let Some(word) = self.take() {
            if word == "--" {
                self.left_over.append(&mut self.words);
            } else if let Some(long) = word.strip_prefix("--") {
                return self.long(long).map(Some);
            } else if let Some(letter) = word.strip_prefix('-').and_then(|letters| letters.chars().next()) {
                self.letters = word.chars().skip(2).collect();
                return self.short(letter).map(Some);
            } else {
                self.left_over.push_back(word);
            }
        }
        Ok(None)
    }

    /// The word that the last option or value stood in.
    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// The first word that was no option, once.
    pub(super) fn left_over(&mut self) -> Option<String> {
        self.left_over.pop_front()
    }

    fn take(&mut self) -> Option<String> {
        let word = self.words.pop_front()?;
        self.word.clone_from(&word);
        Some(word)
    }

    fn long(&mut self, text: &str) -> Result<(Tag, Option<String>), ScanError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let known = OPTIONS.iter().find(|(_, long, ..)| !long.is_empty() && *long == name);
        let (tag, takes) = known.map(|(tag, _, _, takes)| (*tag, *takes)).ok_or_else(|| self.wrong(UNKNOWN))?;
        match (takes, value) {
            (Takes::Nothing, Some(_)) => Err(self.wrong("option does not take an argument")),
            (Takes::Value | Takes::MayValue, Some(value)) => Ok((tag, Some(value))),
            (_, None) => self.value(takes).map(|value| (tag, value)),
        }
    }

    fn short(&mut self, letter: char) -> Result<(Tag, Option<String>), ScanError> {
        let known = OPTIONS.iter().find(|(_, _, known, _)| *known != '\0' && *known == letter);
        let (tag, takes) = known.map(|(tag, _, _, takes)| (*tag, *takes)).ok_or_else(|| self.wrong(UNKNOWN))?;
        if takes == Takes::Nothing || self.letters.is_empty() {
            return self.value(takes).map(|value| (tag, value));
        }
        let rest = std::mem::take(&mut self.letters);
        Ok((tag, Some(rest.strip_prefix('=').map_or_else(|| rest.clone(), str::to_owned))))
    }

    /// A value in the next word.
    fn value(&mut self, takes: Takes) -> Result<Option<String>, ScanError> {
        match takes {
            Takes::Nothing => Ok(None),
            Takes::Value => self.take().map(Some).ok_or_else(|| self.wrong("missing argument")),
            Takes::MayValue if self.words.front().is_some_and(|next| next.starts_with('-')) => Ok(None),
            Takes::MayValue => Ok(self.take()),
        }
    }

    fn wrong(&self, what: &'static str) -> ScanError {
        ScanError { word: self.word.clone(), what }
    }
}

const UNKNOWN: &str = "unknown option";

#[cfg(test)]
mod tests {
    use super::*;

    type Found = Vec<(Tag, Option<String>)>;

    fn scan(line: &str) -> (Found, Vec<String>, Option<String>) {
        let mut scanner = Scanner::new(line.split(' ').map(str::to_owned));
        let mut found = Vec::new();
        let error = loop {
            match scanner.next() {
                Ok(Some(option)) => found.push(option),
                Ok(None) => break None,
                Err(error) => break Some(format!("{}: {}", error.word, error.what)),
            }
        };
        (found, std::iter::from_fn(|| scanner.left_over()).collect(), error)
    }

    fn value(tag: Tag, value: &str) -> (Tag, Option<String>) {
        (tag, Some(value.to_owned()))
    }

    #[test]
    fn short_options_stand_together_and_the_rest_of_a_word_is_a_value() {
        let flag = |tag| (tag, None);
        assert_eq!(scan("-Lnc").0, [Tag::List, Tag::Numeric, Tag::Connection].map(flag));
        for line in ["-At1.2.3.4:80", "-At=1.2.3.4:80", "-At 1.2.3.4:80", "-A --tcp-service=1.2.3.4:80"] {
            assert_eq!(scan(line).0, [flag(Tag::AddService), value(Tag::TcpService, "1.2.3.4:80")], "{line}");
        }
    }

    #[test]
    fn a_value_that_may_be_absent_is_not_an_option() {
        assert_eq!(scan("-p -s rr").0, [(Tag::Persistent, None), value(Tag::Scheduler, "rr")]);
        assert_eq!(scan("-p").0, [(Tag::Persistent, None)]);
        for line in ["-p 50", "-p50", "-p=50", "--persistent 50", "--persistent=50"] {
            assert_eq!(scan(line).0, [value(Tag::Persistent, "50")], "{line}");
        }
        // A value that must be there may look like an option.
        assert_eq!(scan("-w -1").0, [value(Tag::Weight, "-1")]);
    }

    #[test]
    fn other_words_are_left_over() {
        assert_eq!(scan("x -L - y -- -n").1, ["x", "-", "y", "-n"]);
    }

    #[test]
    fn what_popt_says() {
        for (line, said) in [
            ("-A --tcp-serv 1.2.3.4:80", "--tcp-serv: unknown option"),
            ("-L -n5", "-n5: unknown option"),
            ("-L --numeric=5", "--numeric=5: option does not take an argument"),
            ("-Lnct", "-Lnct: missing argument"),
            ("-A -p -5", "-5: unknown option"),
            ("-A --tcp-service", "--tcp-service: missing argument"),
        ] {
            assert_eq!(scan(line).2.as_deref(), Some(said), "{line}");
        }
    }
}

//! Which options each command takes, and what is said of one that it does not.
//!
//! ipvsadm looks at its options in one fixed order, so the first in that order is the one it complains about.

use super::failure::Failure;

/// Options as messages name them, in the order in which they are looked at. `Service`, `Forward` and `Ops` have several spellings.
macro_rules! kinds {
    ($($kind:ident $name:literal),+ $(,)?) => {
        /// A kind of option.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kind { $($kind),+ }

        impl Kind {
            const ALL: &'static [Self] = &[$(Self::$kind),+];

            fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }
        }
    };
}

kinds! {
    Numeric "numeric", Connection "connection", Service "service-address", Scheduler "scheduler",
    Persistent "persistent", Netmask "netmask", Server "real-server", Forward "forwarding-method", Weight "weight",
    UThreshold "u-threshold", LThreshold "l-threshold", McastInterface "mcast-interface", Timeout "timeout",
    Daemon "daemon", Stats "stats", Rate "rate", Thresholds "thresholds", PersistentConn "persistent-conn",
    NoSort "nosort", Syncid "syncid", Exact "exact", Ops "ops", Pe "pe", SchedFlags "sched-flags",
    McastGroup "mcast-group", McastPort "mcast-port", McastTtl "mcast-ttl", SyncMaxlen "sync-maxlen",
    TunInfo "tun-info", TunType "tun-type", TunPort "tun-port", TunNocsum "tun-nocsum", TunCsum "tun-csum",
    TunRemcsum "tun-remcsum",
}

/// The options of one command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Given(u64);

impl Given {
    /// Notes an option; one that was given before is an error.
    pub(super) fn set(&mut self, kind: Kind) -> Result<(), Failure> {
        if self.has(kind) {
            return Err(Failure::usage(format!("multiple '{}' options specified", kind.name())));
        }
        self.0 |= 1 << kind as u32;
        Ok(())
    }

    pub(super) fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    pub(super) fn any(self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| self.has(*kind))
    }
}

/// What a command or a type of tunnel takes.
pub(super) struct Rules {
    /// As messages name it: `the 'list' command`, `the 'gue' tunnel type`.
    pub(super) of: &'static str,
    /// Must be given.
    pub(super) needs: &'static [Kind],
    /// May be given.
    pub(super) takes: &'static [Kind],
    /// Of these only one may be given.
    pub(super) one_of: &'static [Kind],
    /// Only these are looked at.
    pub(super) among: &'static [Kind],
}

/// Options of tunnels' headers, which the type of tunnel decides about.
const TUNNEL: &[Kind] = &[Kind::TunPort, Kind::TunNocsum, Kind::TunCsum, Kind::TunRemcsum];
const SERVICE: &[Kind] = &[Kind::Scheduler, Kind::Persistent, Kind::Netmask, Kind::Ops, Kind::Pe, Kind::SchedFlags];
const SERVER: &[Kind] = &[
    Kind::Forward,
    Kind::Weight,
    Kind::UThreshold,
    Kind::LThreshold,
    Kind::TunType,
    Kind::TunPort,
    Kind::TunNocsum,
    Kind::TunCsum,
    Kind::TunRemcsum,
];
const LIST: &[Kind] = &[
    Kind::Numeric,
    Kind::Stats,
    Kind::Rate,
    Kind::Thresholds,
    Kind::PersistentConn,
    Kind::NoSort,
    Kind::Syncid,
    Kind::Exact,
    Kind::TunInfo,
];
const START: &[Kind] =
    &[Kind::McastInterface, Kind::Syncid, Kind::McastGroup, Kind::McastPort, Kind::McastTtl, Kind::SyncMaxlen];

const fn command(of: &'static str, needs: &'static [Kind], takes: &'static [Kind]) -> Rules {
    Rules { of, needs, takes, one_of: &[], among: Kind::ALL }
}

const fn tunnel(of: &'static str, needs: &'static [Kind], one_of: &'static [Kind]) -> Rules {
    Rules { of, needs, takes: &[], one_of, among: TUNNEL }
}

pub(super) const ADD_SERVICE: Rules = command("the 'add-service' command", &[Kind::Service], SERVICE);
pub(super) const EDIT_SERVICE: Rules = command("the 'edit-service' command", &[Kind::Service], SERVICE);
pub(super) const DELETE_SERVICE: Rules = command("the 'delete-service' command", &[Kind::Service], &[]);
pub(super) const ADD_SERVER: Rules = command("the 'add-server' command", &[Kind::Service, Kind::Server], SERVER);
pub(super) const EDIT_SERVER: Rules = command("the 'edit-server' command", &[Kind::Service, Kind::Server], SERVER);
pub(super) const DELETE_SERVER: Rules = command("the 'delete-server' command", &[Kind::Service, Kind::Server], &[]);
pub(super) const CLEAR: Rules = command("the 'flush' command", &[], &[]);
pub(super) const RESTORE: Rules = command("the 'restore' command", &[], &[]);
pub(super) const SAVE: Rules = command("the 'save' command", &[], &[Kind::Numeric]);
pub(super) const ZERO: Rules = command("the 'zero' command", &[], &[Kind::Service]);
pub(super) const SET: Rules = command("the 'set' command", &[], &[]);
pub(super) const START_DAEMON: Rules = command("the 'start-daemon' command", &[], START);
pub(super) const STOP_DAEMON: Rules = command("the 'stop-daemon' command", &[], &[Kind::Syncid]);
pub(super) const LISTING: Rules = Rules {
    one_of: &[Kind::Connection, Kind::Service, Kind::Timeout, Kind::Daemon],
    ..command("the 'list' command", &[], LIST)
};
pub(super) const IPIP: Rules = tunnel("the 'ipip' tunnel type", &[], &[]);
pub(super) const GUE: Rules =
    tunnel("the 'gue' tunnel type", &[Kind::TunPort], &[Kind::TunNocsum, Kind::TunCsum, Kind::TunRemcsum]);
pub(super) const GRE: Rules = tunnel("the 'gre' tunnel type", &[], &[Kind::TunNocsum, Kind::TunCsum]);

impl Rules {
    /// Are these options ones that it takes?
    pub(super) fn check(&self, given: Given) -> Result<(), Failure> {
        let mut chosen: Option<Kind> = None;
        for kind in self.among.iter().copied() {
            let (name, of) = (kind.name(), self.of);
            let is_one = self.one_of.contains(&kind);
            match given.has(kind) {
                false if self.needs.contains(&kind) => {
                    return Err(Failure::usage(format!("You need to supply the '{name}' option for {of}")));
                }
                true if is_one => {
                    if let Some(first) = chosen {
                        let first = first.name();
                        return Err(Failure::usage(format!(
                            "The option '{name}' conflicts with the '{first}' option in {of}"
                        )));
                    }
                    chosen = Some(kind);
                }
                true if !self.takes.contains(&kind) && !self.needs.contains(&kind) => {
                    return Err(Failure::usage(format!("Illegal '{name}' option with {of}")));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(kinds: &[Kind]) -> Given {
        let mut given = Given::default();
        for kind in kinds {
            given.set(*kind).unwrap();
        }
        given
    }

    #[test]
    fn the_first_in_ipvsadms_order_is_complained_about() {
        let check = |rules: &Rules, kinds: &[Kind]| rules.check(given(kinds)).map_err(|failure| failure.text);
        assert_eq!(
            check(&DELETE_SERVICE, &[Kind::Weight, Kind::Numeric]).unwrap_err(),
            "Illegal 'numeric' option with the 'delete-service' command"
        );
        assert_eq!(
            check(&ADD_SERVER, &[Kind::Service, Kind::Scheduler]).unwrap_err(),
            "Illegal 'scheduler' option with the 'add-server' command"
        );
        assert_eq!(
            check(&LISTING, &[Kind::Daemon, Kind::Timeout, Kind::Scheduler]).unwrap_err(),
            "Illegal 'scheduler' option with the 'list' command"
        );
        assert_eq!(check(&LISTING, &[Kind::Syncid, Kind::Service, Kind::Exact]), Ok(()));
    }

    #[test]
    fn twice_is_once_too_often() {
        let mut given = given(&[Kind::Forward]);
        let failure = given.set(Kind::Forward).unwrap_err();
        assert_eq!((failure.text.as_str(), failure.code), ("multiple 'forwarding-method' options specified", 2));
    }
}

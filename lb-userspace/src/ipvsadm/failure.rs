//! Why a command did nothing: a line on standard error and an exit code.

/// What ipvsadm says and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// Lines for standard error, without the last end of line.
    pub(super) text: String,
    /// Exit code.
    pub(super) code: u8,
    /// `-R` ends here; otherwise it goes on with the next line.
    pub(super) is_final: bool,
}

/// Exit code of options that are wrong.
const USAGE: u8 = 2;
/// What the shell sees of -1: the kernel refused, or popt did not understand.
const REFUSED: u8 = 255;
/// Exit code of a listing that has nothing to list.
const LISTING: u8 = 1;

impl Failure {
    /// Options that make no sense together, or a value that is none.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: USAGE, is_final: true }
    }

    /// Words that popt does not understand.
    pub(super) fn unscanned(text: String) -> Self {
        Self { text, code: REFUSED, is_final: false }
    }

    /// A command line without a command.
    pub(super) fn try_help(program: &str) -> Self {
        let text = format!("Try `{program} -h' or '{program} --help' for more information.");
        Self { text, code: REFUSED, is_final: true }
    }

    /// What the kernel refuses with IPVS, and the daemon here.
    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: REFUSED, is_final: false }
    }

    /// A listing of what is not there.
    pub(super) fn listing(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: LISTING, is_final: true }
    }

    /// Whoever reads the listing has seen enough, as `head` does: nothing to say, and no failure.
    pub(super) fn closed() -> Self {
        Self { text: String::new(), code: 0, is_final: true }
    }

    /// Nobody to ask.
    pub(super) fn unreachable(cause: impl std::fmt::Display) -> Self {
        Self { text: format!("Can't initialize ipvs: {cause}"), code: USAGE, is_final: true }
    }
}

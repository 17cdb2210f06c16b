//! `-L -c`: connections and persistence templates.

use std::fmt::Write as _;

use super::{super::names::Names, Words};
use crate::{api::types::ConnectionView, model::Protocol};

/// The two lines before the connections.
pub(in super::super) fn head(engines: bool) -> String {
    let mut text =
        "IPVS connection entries\npro expire state       source             virtual            destination".to_owned();
    if engines {
        text.push_str("        pe name          pe_data");
    }
    text.push('\n');
    text
}

/// A line for each.
pub(in super::super) fn lines<N: Names>(views: &[ConnectionView], words: &Words<'_, N>) -> String {
    let mut text = String::new();
    for view in views {
        let protocol = match view.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
            Protocol::Mark => "IP",
        };
        let (minutes, seconds) = (view.expires_seconds / 60, view.expires_seconds % 60);
        let expires = format!("{minutes:02}:{seconds:02}");
        let [client, virtual_, real] =
            [view.client, view.virtual_, view.real].map(|endpoint| words.endpoint(endpoint, view.protocol));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{protocol:<3} {expires:<6} {:<11} {client:<18} {virtual_:<18} {real}", view.state);
    }
    text
}

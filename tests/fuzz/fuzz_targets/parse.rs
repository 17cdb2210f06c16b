//! The parsers on any bytes: no panic, and what they claim lies inside the frame.
#![no_main]

use lb_common::wire::parse::{Parsed, v4, v6};
use lb_common::wire::slice::Frame;
use lb_common::wire::{ethernet, plain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let frame = Frame(bytes);
    let Ok(link) = ethernet::parse(&frame) else { return };
    assert!(matches!(link.payload, 14 | 18 | 22));
    // The shortcut sees what the parser sees.
    if let Some(flow) = plain::v4(&frame) {
        assert_eq!((link.ethertype, link.payload), (ethernet::IPV4, plain::OFFSET));
        assert_eq!(v4(&frame, plain::OFFSET), Ok(Parsed::Flow(flow)));
    }
    if let Some(flow) = plain::v6(&frame) {
        assert_eq!((link.ethertype, link.payload), (ethernet::IPV6, plain::OFFSET));
        assert_eq!(v6(&frame, plain::OFFSET), Ok(Parsed::Flow(flow)));
    }
    // Both, whatever the EtherType says: a hostile one is only one byte away.
    if let Ok(Parsed::Flow(flow) | Parsed::FirstFragment(flow)) = v4(&frame, link.payload) {
        let end = link.payload + flow.ip.total_length as usize;
        assert!(flow.ip.payload + 8 <= end && end <= bytes.len(), "{flow:?}");
    }
    if let Ok(Parsed::Flow(flow) | Parsed::FirstFragment(flow)) = v6(&frame, link.payload) {
        let end = link.payload + flow.ip.total_length as usize;
        assert!(flow.ip.payload + 8 <= end && end <= bytes.len(), "{flow:?}");
    }
});

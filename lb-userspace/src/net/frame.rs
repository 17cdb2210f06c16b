//! Frames sent out of an interface as they are.
#![expect(unsafe_code, reason = "a link-layer address is one of C's structures")]

use std::io;

use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

/// A socket that sends whole frames by any interface of its namespace, and receives none.
#[derive(Debug)]
pub struct FrameSocket {
    socket: Socket,
}

impl FrameSocket {
    /// Opens it. Needs CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        // Protocol 0: no frame is delivered to it.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Sends a frame, from its Ethernet header on.
    pub fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        self.socket.send_to(frame, &link(ifindex)).map(drop)
    }
}

/// The address of an interface. Its hardware address is not asked for: the frame has one.
fn link(ifindex: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is as large as any address of the system and aligned for it; its bytes are all zero, a value of the
    // structure, which consists of integers.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = ifindex as i32;
    // SAFETY: a whole `sockaddr_ll` stands there, and this is its length.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_interface() {
        let address = link(0x0102_0304);
        assert_eq!((address.domain(), address.len()), (Domain::PACKET, 20));
    }
}

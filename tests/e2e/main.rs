//! The whole director on real traffic: an `xvs daemon` in a laboratory of network namespaces, nginx on the reals, clients with
//! real sockets. Needs root and the tools that `cargo xtask setup` installs; without them every test here fails and says so.
//!
//! The binary under test is `target/release/xvs`, or the one that `XVS_BIN` names; it is not built from here. Tests run one at a
//! time (`--test-threads=1`): they compare counts of traffic, and the machine may have few cores. Waits are polls with a bound;
//! no test asks how fast something was.
//!
//! | module | what it shows |
//! |---|---|
//! | `shares` | wrr and rr over ten thousand requests, counted by client, director and reals |
//! | `counts` | lc and wlc with held connections: each pick against the formula |
//! | `hashing` | sh and mh: each client against tables built here |
//! | `restart` | the daemon is killed and started again under load |
//! | `neighbours` | a real's MAC changes, a real goes away and comes back |
//! | `health` | checks: fall, rise, wrong status, and what becomes of open connections |
//! | `tunnels` | four tunnels to reals behind a router, outer sources |
//! | `matrix` | every way to a real with every pair of families: files both ways by SHA-256, datagrams |
//! | `path_mtu` | ICMP of the director to the client and of a router to the real: transfers fit the path |
//! | `echo_vip` | ping to a VIP |
//! | `doctor` | `xvs doctor mtu`: ways without room, and that its advice helps |
//! | `two_arm` | redirect between interfaces |
//! | `udp` | a UDP service |
//! | `associations` | SCTP by direct routing and through every tunnel: handshake, echoes, states, close |
//! | `fragments` | UDP datagrams of 8 kB, their fragments in any order |
//! | `ftp` | FTP through NAT, and by direct routing: lists and files, active and passive, two clients' programs |
//! | `ldirectord` | Debian's ldirectord by `ipvsadm`: reals quiesced and removed, fallback, recovery, under load |
//! | `any_port` | a service on any port beside one on a port |
//! | `expiry` | connections are forgotten |
//! | `edits` | changes under load: weights, reals, services |
//! | `ipvsadm` | a script that speaks ipvsadm: create, edit, list, save, zero, flush, restore, with traffic before and after |
//! | `persistence` | clients of a mark stay at their reals, over ports, addresses and a killed daemon; what an export keeps |
//! | `concurrent` | hundreds of edits by several clients at once: each done or refused, never half |
//! | `refusals` | bad input and bad surroundings: clear words, nothing touched |
//! | `residue` | nothing stays behind |

mod any_port;
mod associations;
mod capture;
mod concurrent;
mod counts;
mod doctor;
mod echo;
mod echo_vip;
mod edits;
mod expiry;
mod fragments;
mod ftp;
mod ftp_server;
mod ftp_session;
mod hashing;
mod health;
mod hold;
mod ipvsadm;
mod ldirectord;
mod ldirectord_process;
mod local;
mod matrix;
mod memory;
mod nat;
mod neighbours;
mod path_mtu;
mod persistence;
mod refusals;
mod residue;
mod resize;
mod restart;
mod sctp;
mod shares;
mod stage;
mod sums;
mod transfer;
mod tunnels;
mod two_arm;
mod udp;
mod ways;

//! `-v` and `-h`.

/// What ipvsadm 1.31 prints; scripts look for a version in it.
pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

/// The commands and options.
pub(super) fn text(program: &str) -> String {
    format!(
        "{VERSION}XVS speaks its language; docs/reference/ipvsadm.md says what is different.\n\n{}",
        HELP.replace("PROGRAM", program)
    )
}

const HELP: &str = "Usage:
  PROGRAM -A|-E SERVICE [-s NAME] [-p [SECONDS]] [-M MASK] [-b FLAGS] [-o]
  PROGRAM -D SERVICE
  PROGRAM -a|-e SERVICE -r HOST[:PORT] [-g|-i|-m] [-w N] [-x N] [-y N] [tunnel]
  PROGRAM -d SERVICE -r HOST[:PORT]
  PROGRAM -L|-l [SERVICE] [listing]
  PROGRAM -S [-n] | -R | -C | -Z [SERVICE]
  PROGRAM --set TCP TCPFIN UDP
  PROGRAM -h | -v

Commands:
  -A, --add-service      a new service
  -E, --edit-service     other options for a service; those not given get their defaults
  -D, --delete-service   a service and its reals go
  -a, --add-server       a new real of a service
  -e, --edit-server      other options for a real; those not given get their defaults
  -d, --delete-server    a real goes
  -C, --clear            all services go
  -L, -l, --list         show services, or what an option below names
  -S, --save             print the services as lines for -R
  -R, --restore          run the lines of standard input
  -Z, --zero             count from 0, one service or all
      --set              idle times in seconds; 0 keeps one

SERVICE is one of:
  -t, --tcp-service HOST[:PORT]
  -u, --udp-service HOST[:PORT]
      --sctp-service HOST[:PORT]
  -f, --fwmark-service N [-6, --ipv6]   what `xvs mark` gives mark N

Options of services:
  -s, --scheduler NAME        rr wrr lc wlc (the default) lblc lblcr dh sh sed nq fo ovf mh twos
  -p, --persistent [SECONDS]  a client stays with its real (360)
  -M, --netmask MASK          clients that count as one
  -b, --sched-flags FLAGS     flag-1 flag-2 flag-3, sh-port sh-fallback mh-port mh-fallback
  -o, --ops                   each UDP packet for itself

Options of reals:
  -r, --real-server HOST[:PORT]
  -g, --gatewaying            direct routing (the default)
  -i, --ipip                  a tunnel
  -m, --masquerading          NAT
  -w, --weight N              share of new connections (1)
  -x, --u-threshold N         connections at which it gets no more
  -y, --l-threshold N         connections below which it gets more again
      --tun-type ipip|gue|gre, --tun-port N, --tun-nocsum, --tun-csum

Options of listings:
  -n, --numeric   -c, --connection   -X, --exact   --stats   --rate   --thresholds   --persistent-conn
  --tun-info   --timeout   --daemon   --nosort   --sort
";

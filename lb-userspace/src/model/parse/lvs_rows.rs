//! Wrong files as rows, about what LVS users know: marks, persistence, one-packet scheduling, thresholds, flags.

use super::tests::Row;

pub(super) const LVS_ROWS: &[Row] = &[
    (
        "rules of marks",
        "[[mark]]\nmark = 0\naddress = \"10.0.0.1:80\"\n[[mark]]\nmark = 1\naddress = \"10.0.0.9/24:80\"\n\
         [[mark]]\nmark = 1\nprotocol = \"mark\"\naddress = \"10.0.0.2:80\"\n[[mark]]\nmark = 4294967296\naddress = \"10.0.0.3:0\"\n\
         [[mark]]\nmark = 2\naddress = \"10.0.0.4:90-80\"\n[[mark]]\naddress = \"10.0.0.0/33\"\n[[mark]]\nmark = 3\n\
         [[mark]]\nmark = 3\naddress = \"fd00::/64\"\n[[mark]]\nmark = 3\naddress = \"[fe80::/64]\"\nport = 80\n\
         [[mark]]\nmark = 3\naddress = \"127.0.0.0/8\"\n[[mark]]\nmark = 3\naddress = \"0.0.0.0/0:80\"\n",
        &[
            (2, "mark[0].mark", "0 is out of range; from 1 to 4294967295"),
            (6, "mark[1].address", "10.0.0.9 has bits beyond its prefix /24; write 10.0.0.0/24:80 or 10.0.0.9:80"),
            (9, "mark[2].protocol", "a rule is for packets of tcp, udp or sctp"),
            (12, "mark[3].mark", "4294967296 is out of range; from 1 to 4294967295"),
            (13, "mark[3].address", "0 is no port here; leave the port out for any port"),
            (16, "mark[4].address", "\"90-80\" is a range of ports that runs backwards; write 80-90"),
            (17, "mark[5].mark", "missing; write for example mark = 1"),
            (18, "mark[5].address", "\"33\" in \"10.0.0.0/33\" is not a prefix length; from 0 to 32"),
            (19, "mark[6].address", "missing; write for example address = \"10.0.0.1:80\""),
            (23, "mark[7].address", "an IPv6 address stands in brackets here: [fd00::/64] or [fd00::/64]:80"),
            (26, "mark[8].address", "fe80:: is a link-local address"),
            (27, "mark[8].port", "unknown key"),
            (30, "mark[9].address", "127.0.0.0 is a loopback address: no packet to balance has it"),
        ],
    ),
    (
        "rules that take what another takes",
        "[director]\nlocal_addresses = [\"10.0.9.1\"]\nlocal_ports = \"2000-2999\"\n\
         [[mark]]\nmark = 1\naddress = \"10.0.0.1:80\"\n[[mark]]\nmark = 2\naddress = \"10.0.0.1/32:80-80\"\n\
         [[mark]]\nmark = 1\naddress = \"10.0.0.2\"\n[[mark]]\nmark = 1\naddress = \"10.0.0.0/24:80\"\n\
         [[mark]]\nmark = 1\naddress = \"10.0.9.0/24:1-2000\"\n[[mark]]\nmark = 1\naddress = \"10.0.9.0/24:3000-4000\"\n\
         [[service]]\naddress = \"10.0.0.1:80\"\n[[service]]\naddress = \"10.0.0.2\"\n[[service]]\naddress = \"10.0.0.1:80\"\nprotocol = \"udp\"\n",
        &[
            (
                6,
                "mark[0].address",
                "rule tcp 10.0.0.1:80 of mark 1 takes what service tcp://10.0.0.1:80 takes, which is there already, as \
                 service[0] (line 22)",
            ),
            (9, "mark[1].address", "rule tcp 10.0.0.1:80 (mark 1) is there already, as mark[0] (line 4)"),
            (12, "mark[2].address", "takes what service tcp://10.0.0.2:0 takes, which is there already, as service[1]"),
            (
                18,
                "mark[4].address",
                "takes the answers to 10.0.9.1 (director.local_addresses): leave that address or ports 2000-2999 out",
            ),
        ],
    ),
    (
        "services of marks",
        "[[service]]\nmark = 1\naddress = \"10.0.0.1:80\"\nprotocol = \"tcp\"\n[[service]]\nprotocol = \"mark\"\naddress = \"1\"\n\
         [[service]]\naddress = \"10.0.0.1:80\"\nfamily = \"ipv4\"\n[[service]]\nmark = 0\n[[service]]\nmark = 2\nfamily = \"inet\"\n\
         [[service]]\nmark = 3\nfamily = \"ipv6\"\n[[service.real]]\naddress = \"10.0.1.1\"\n[[service.real]]\naddress = \"[fd00::1]:80\"\n\
         [[service.real]]\naddress = \"[fd00::2]:80\"\nmethod = \"nat\"\n[[service]]\nmark = 3\nfamily = \"ipv6\"\nhelper = \"ftp\"\n\
         [[service]]\naddress = \"10.0.0.0/24:80\"\n",
        &[
            (3, "service[0].address", "a mark's service has none: the rules of the mark say what it takes"),
            (4, "service[0].protocol", "a mark's service has none"),
            (6, "service[1].protocol", "a mark's service is written mark = 1, without protocol and address"),
            (10, "service[2].family", "is for a mark's service; here the address tells the family"),
            (12, "service[3].mark", "0 is out of range; from 1 to 4294967295"),
            (15, "service[4].family", "unknown address family \"inet\"; one of ipv4, ipv6"),
            (20, "service[5].real[0].address", "10.0.1.1 is IPv4 but service mark6://3 is IPv6"),
            (
                22,
                "service[5].real[1].address",
                "port 80: direct forwarding does not rewrite the ports of a mark's service",
            ),
            (27, "service[6].mark", "service mark6://3 is there already, as service[5] (line 16)"),
            (
                29,
                "service[6].helper",
                "ftp is followed on an address and port, not by mark; make it a service of its own",
            ),
            (
                31,
                "service[7].address",
                "(`xvs mark add 1 tcp 10.0.0.0/24:80`) and make a service of the mark (`mark://1`)",
            ),
        ],
    ),
    (
        "checks of a mark's reals",
        "[[service]]\nmark = 1\nmethod = \"nat\"\n[service.health]\ntype = \"tcp\"\n[[service.real]]\naddress = \"10.0.1.1:80\"\n\
         [[service]]\nmark = 2\n[service.health]\ntype = \"tcp\"\n[[service.real]]\naddress = \"10.0.1.1\"\n",
        &[(
            10,
            "service[1].health.port",
            "missing: real 10.0.1.1 of this mark's service has no port of its own, so the check must name one",
        )],
    ),
    (
        "persistence and times",
        "[[service]]\naddress = \"10.0.0.1:80\"\npersistence = 360\n[[service]]\naddress = \"10.0.0.2:80\"\n\
         persistence = { timeout = 0, netmask = \"/64\" }\n[[service]]\naddress = \"[fd00::1]:80\"\n\
         [service.persistence]\ntimeout = 2678401\nnetmask = \"255.255.255.0\"\nmask = 1\n[service.timeouts]\ntcp = 0\nudp = 2678401\n\
         sctp = 1\n[[service]]\naddress = \"10.0.0.3:80\"\npersistence = { netmask = \"0.0.0.0\" }\n",
        &[
            (3, "service[0].persistence", "expected a table, found an integer"),
            (6, "service[1].persistence.timeout", "0 is out of range; from 1 to 2678400"),
            (
                6,
                "service[1].persistence.netmask",
                "/64 is not a netmask of IPv4, which service tcp://10.0.0.2:80 is; such as 255.255.255.0",
            ),
            (10, "service[2].persistence.timeout", "2678401 is out of range; from 1 to 2678400"),
            (11, "service[2].persistence.netmask", "255.255.255.0 is not a netmask of IPv6"),
            (12, "service[2].persistence.mask", "known here: timeout, netmask"),
            (14, "service[2].timeouts.tcp", "0 is out of range; from 1 to 2678400"),
            (15, "service[2].timeouts.udp", "2678401 is out of range; from 1 to 2678400"),
            (16, "service[2].timeouts.sctp", "known here: tcp, tcp_fin, udp"),
            (
                19,
                "service[3].persistence.netmask",
                "\"0.0.0.0\" is not a netmask: 255.255.255.0 for IPv4, /64 for IPv6",
            ),
        ],
    ),
    (
        "one packet at a time",
        "[director]\nlocal_addresses = [\"10.0.9.1\"]\n[[service]]\naddress = \"10.0.0.1:80\"\none_packet = true\n\
         [[service]]\naddress = \"10.0.0.1:53\"\nprotocol = \"udp\"\none_packet = true\nmethod = \"fullnat\"\n\
         [[service]]\nmark = 1\none_packet = true\n[[service.real]]\naddress = \"10.0.1.1\"\nmethod = \"fullnat\"\n",
        &[
            (5, "service[0].one_packet", "is for udp and for marks, this service is tcp"),
            (9, "service[1].one_packet", "does not go with method fullnat"),
            (13, "service[2].one_packet", "does not go with fullnat to real 10.0.1.1:0"),
        ],
    ),
    (
        "thresholds",
        "[[service]]\naddress = \"10.0.0.1:80\"\n[[service.real]]\naddress = \"10.0.1.1\"\nlower_threshold = 5\n\
         [[service.real]]\naddress = \"10.0.1.2\"\nupper_threshold = 4\nlower_threshold = 5\n\
         [[service.real]]\naddress = \"10.0.1.3\"\nupper_threshold = 2147483648\nlower_threshold = 1\n",
        &[
            (5, "service[0].real[0].lower_threshold", "5 means nothing without an upper threshold"),
            (9, "service[0].real[1].lower_threshold", "5 is above the upper threshold 4"),
            (12, "service[0].real[2].upper_threshold", "2147483648 is out of range; from 0 to 2147483647"),
        ],
    ),
    (
        "what schedulers are told",
        "[[service]]\naddress = \"10.0.0.1:80\"\nscheduler = \"sh\"\nflags = [\"flag-1\", \"sh-fallback\", \"udp-active\", \"flag-3\"]\ntable_slots = 251\n\
         [[service]]\naddress = \"10.0.0.2:80\"\nflags = [\"flag-1\", \"flag-2\", \"udp-active\"]\n\
         [[service]]\naddress = \"10.0.0.3:80\"\nscheduler = \"mh\"\ntable_slots = 4096\nflags = [\"flag-2\"]\n",
        &[
            (4, "service[0].flags[1]", "flag sh-fallback is there already, as service[0].flags[0] (line 4)"),
            (4, "service[0].flags[2]", "flag udp-active means nothing to scheduler sh, which counts no connections"),
            (5, "service[0].table_slots", "is for scheduler mh, this service has sh"),
            (8, "service[1].flags[2]", "flag udp-active is about udp, this service is tcp"),
            (12, "service[2].table_slots", "4096 is not one of the primes 251, 509, 1021, 2039, 4093, 8191, 16381"),
        ],
    ),
    (
        "the director's settings",
        "[director]\nconn_reuse_mode = 4\nexpire_nodest_conn = 1\n",
        &[
            (2, "director.conn_reuse_mode", "4 is out of range; from 0 to 3"),
            (3, "director.expire_nodest_conn", "expected true or false, found an integer"),
        ],
    ),
];

#!/bin/sh
# What somebody does with LVS, in ipvsadm's words: create, edit, list, save, count, zero, flush, restore.
#
#   lvs-user.sh create|count|again DIRECTORY
#
# `ipvsadm` is the first one in PATH. VIP, VIP6, R1, R2, R3 and R6 are addresses of services and real servers. DIRECTORY keeps
# the texts from one step to the next. Ends with 0 when everything was as it should be, and says what was not.
set -eu

directory=$2

die() {
	echo "lvs-user: $*" >&2
	exit 1
}

# The text of a listing is that of an earlier one.
same() {
	diff -u "$directory/$1" "$directory/$2" >&2 || die "$1 and $2 differ"
}

# A command that has to fail with this exit code and these words.
refused() {
	code=$1 words=$2
	shift 2
	said=$(ipvsadm "$@" 2>&1) && die "ipvsadm $* was taken"
	[ $? = "$code" ] || die "ipvsadm $*: not exit code $code"
	[ "$said" = "$words" ] || die "ipvsadm $*: $said"
}

create() {
	ipvsadm -A -t "$VIP:80" -s rr
	ipvsadm -a -t "$VIP:80" -r "$R1" -g
	ipvsadm -a -t "$VIP:80" -r "$R2" -g -w 3
	ipvsadm -a -t "$VIP:80" -r "$R3" -g -w 2 -x 1000 -y 900
	ipvsadm -A -t "$VIP:443" -s sh -b sh-port,sh-fallback -p 120 -M 255.255.255.0
	ipvsadm -a -t "$VIP:443" -r "$R1:8443" -m -w 10
	ipvsadm -A -u "$VIP:53" -o
	ipvsadm -a -u "$VIP:53" -r "$R2" -i --tun-type gue --tun-port 6080 --tun-csum
	ipvsadm -A -t "[$VIP6]:80" -s mh -b mh-port
	ipvsadm -a -t "[$VIP6]:80" -r "[$R6]:80" -g
	ipvsadm -A -f 5 -s wlc -p
	ipvsadm -a -f 5 -r "$R3" -i

	# Edits: what is not said gets its default, so the thresholds go here.
	ipvsadm -E -t "$VIP:80" -s wrr
	ipvsadm -e -t "$VIP:80" -r "$R1" -g -w 5
	ipvsadm -e -t "$VIP:80" -r "$R3" -g -w 2
	ipvsadm --set 0 60 0

	# Mistakes change nothing.
	ipvsadm -S -n >"$directory/mistakes-before"
	refused 255 "Service already exists" -A -t "$VIP:80" -s rr
	refused 255 "No such destination" -d -t "$VIP:80" -r "$R6:81"
	refused 2 "Zero port specified for non-persistent service" -A -t "$VIP"
	refused 2 "multiple 'forwarding-method' options specified" -a -t "$VIP:80" -r "$R1" -g -m
	refused 1 "No such service" -L -t "$VIP:9"
	ipvsadm -S -n >"$directory/mistakes-after"
	same mistakes-before mistakes-after

	[ "$(ipvsadm -L --timeout)" = "Timeout (tcp tcpfin udp): 900 60 300" ] || die "$(ipvsadm -L --timeout)"
	ipvsadm -L -n >"$directory/list-before"
	ipvsadm -L -n --tun-info >"$directory/tunnels-before"
	ipvsadm -S -n >"$directory/save-before"
	grep -q "^TCP  $VIP:80 wrr$" "$directory/list-before" || die "not listed"
	grep -q "^-a -t $VIP:80 -r $R1:80 -g -w 5$" "$directory/save-before" || die "not saved"
}

# Connections of the first service, as --stats has them.
connections() {
	ipvsadm -L -n --stats --exact | awk -v "service=$VIP:80" '$2 == service { print $3 }'
}

# Bytes a second of the first service. The estimators look every two seconds.
rate() {
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		bytes=$(ipvsadm -L -n --rate --exact | awk -v "service=$VIP:80" '$2 == service { print $6 }')
		[ "$bytes" = 0 ] || return 0
		sleep 0.5
	done
	die "no rate"
}

count() {
	rate
	before=$(connections)
	[ "$before" -ge 100 ] || die "$before connections are counted"
	ipvsadm -L -n -c | grep -q " $VIP:80 " || die "no connection is listed"
	ipvsadm -Z -t "$VIP:80"
	[ "$(connections)" = 0 ] || die "$(connections) connections after zero"
}

again() {
	ipvsadm -C
	[ "$(ipvsadm -S -n)" = "" ] || die "something is left after flush"
	ipvsadm -R <"$directory/save-before"
	ipvsadm -L -n >"$directory/list-after"
	ipvsadm -L -n --tun-info >"$directory/tunnels-after"
	ipvsadm -S -n >"$directory/save-after"
	same list-before list-after
	same tunnels-before tunnels-after
	same save-before save-after
	[ "$(connections)" = 0 ] || die "a new service has $(connections) connections"
}

case $1 in
create | count | again) "$1" ;;
*) die "unknown step $1" ;;
esac

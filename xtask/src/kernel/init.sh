#!/bin/sh
# Process 1 of a guest kernel, in busybox: this machine's files (9p, read-only) with a tmpfs over them become the root in which
# /tests.sh runs. Output goes to the virtio port named "output", results to "results"; the guest's end is a reset, on which QEMU ends.

/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

give_up() {
    echo "guest: $*" > /dev/console
    reboot -f
}

for module in /modules/*.ko; do
    insmod "$module" || give_up "cannot load $module"
done

mkdir -p /host /writes /root
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 host /host || give_up "no files by 9p"
mount -t tmpfs tmpfs /writes
mkdir /writes/upper /writes/work
mount -t overlay -o lowerdir=/host,upperdir=/writes/upper,workdir=/writes/work overlay /root || give_up "no overlay"
for shared in proc sys dev; do
    mount -o bind /$shared /root/$shared
done
mount -t tmpfs tmpfs /root/run
mount -t bpf bpf /root/sys/fs/bpf
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
ip link set lo up

port() {
    for found in /sys/class/virtio-ports/*; do
        [ "$(cat "$found/name")" = "$1" ] && echo "/dev/${found##*/}"
    done
}
output=$(port output)
results=$(port results)
[ -n "$output" ] && [ -n "$results" ] || give_up "no virtio ports"

cp /tests.sh /root/run/tests.sh
exec 3> "$results"
chroot /root /bin/sh /run/tests.sh < /dev/null > "$output" 2>&1
exec 3>&-
# The ports' last bytes are in flight until the host has taken them.
sync
sleep 1
reboot -f

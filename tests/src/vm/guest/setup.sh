#!/bin/sh
# Makes a machine of the root disk: kernel file systems, pure cgroup v2, loopback, and the programs under test,
# which are a tar on the second disk.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mountpoint -q /dev || mount -t devtmpfs -o nosuid dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev shm /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755 run /run
mount -t tmpfs -o nosuid,nodev tmp /tmp
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate cgroup2 /sys/fs/cgroup
mkdir -p /run/vm
hostname -F /etc/hostname 2>/dev/null || busybox hostname tare-vm
ip link set lo up
if busybox tar -xf /dev/vdb -C /opt/tare; then
  : >/run/vm/complete
fi

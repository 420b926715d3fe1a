#!/bin/busybox sh
# Process 1 of the initramfs: loads the disk's modules and hands over to the root disk; powers off when it cannot.
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do
  /bin/busybox insmod "$module" || echo "initramfs: $module refused"
done
tries=0
until [ -b /dev/vda ] || [ $tries -eq 100 ]; do
  /bin/busybox usleep 50000
  tries=$((tries + 1))
done
/bin/busybox mount -t ext4 -o rw /dev/vda /root && exec /bin/busybox switch_root /root /sbin/init
echo "initramfs: no root file system"
/bin/busybox poweroff -f

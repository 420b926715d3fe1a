#!/bin/sh
# Runs what the test sends over the virtio port, one line at a time:
#   test:  LIMIT:BASE64 OF A SHELL SCRIPT
#   agent: CODE:BASE64 OF STDOUT:BASE64 OF STDERR
# A script that lasts longer than LIMIT seconds is killed (124).
export PATH=/opt/tare:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 TERM=xterm USER=root
cd /root
set -- /dev/vport*p1
exec 3<>"$1"
if [ -e /run/vm/complete ]; then
  echo ready >&3
else
  echo 'incomplete: see the console' >&3
fi
while IFS=: read -r limit script <&3; do
  printf %s "$script" | base64 -d >/run/vm/script
  timeout -k 2 "$limit" sh /run/vm/script </dev/null >/run/vm/out 2>/run/vm/err 3>&-
  code=$?
  printf '%s:%s:%s\n' "$code" "$(base64 -w0 /run/vm/out)" "$(base64 -w0 /run/vm/err)" >&3
done
busybox poweroff -f

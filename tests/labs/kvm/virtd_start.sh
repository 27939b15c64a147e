#!/usr/bin/env bash
# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
#
# Inside a lab host: starts its libvirtd. It alone sees lxcfs's /proc, for lxcfs itself must go on seeing the real one.
rm -f /run/libvirtd.pid
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
daemon='exec /usr/sbin/libvirtd --listen --daemon --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirtd.pid'
own=/var/lib/libvirt/lxcfs/proc
if [ -e $own/meminfo ]; then
  exec setsid unshare --mount --propagation slave \
    bash -c "mount --bind $own/meminfo /proc/meminfo && mount --bind $own/stat /proc/stat && $daemon"
fi
exec setsid bash -c "$daemon"

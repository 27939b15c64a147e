#!/usr/bin/env bash
# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
#
# PID 1 of one lab host: makes the host's own view of the machine, starts its libvirtd, waits.
# usage: host_init.sh NAME STATE_FOLDER SYSROOT
set -euo pipefail
name=$1 state=$2 sysroot=$3
here=$(cd "$(dirname "$0")" && pwd)

mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$sysroot/usr:/usr" /usr
hostname "$name"
mount -t proc proc /proc

# The cgroup v1 controllers of the machine, noted before its /sys goes.
controllers=$(awk '$3 == "cgroup" {print $2 "|" $4}' /proc/self/mounts)
umount -R /sys 2>/dev/null || umount -l /sys
mount -t sysfs sysfs /sys
if [ -n "$controllers" ]; then
  mount -t tmpfs -o size=64k,mode=755 cgroups /sys/fs/cgroup
  for entry in $controllers; do
    options=$(tr ',' '\n' <<<"${entry#*|}" | grep -vE '^(rw|ro|relatime|nosuid|nodev|noexec|xattr|clone_children)$' | grep -v '^release_agent' | paste -sd,)
    case $options in name=*) continue ;; esac
    folder=/sys/fs/cgroup/$(basename "${entry%%|*}")
    mkdir -p "$folder"
    mount -t cgroup -o "$options" cgroup "$folder"
  done
fi

# A private /dev without /dev/kvm: software emulation everywhere, so that the lab is the same on any machine.
mount -t tmpfs -o size=4m,mode=755 dev /dev
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0" "fuse 10 229"; do
  read -r file major minor <<<"$node"
  mknod -m 666 "/dev/$file" c "$major" "$minor"
done
mkdir -p /dev/net /dev/pts /dev/shm /dev/mqueue /dev/hugepages
mknod -m 666 /dev/net/tun c 10 200
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts /dev/pts
ln -s pts/ptmx /dev/ptmx
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t hugetlbfs hugetlbfs /dev/hugepages 2>/dev/null || rmdir /dev/hugepages

# The host's own files.
mkdir -p /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
mount --bind "$state/etc" /etc/libvirt
mount --bind "$state/lib" /var/lib/libvirt
mount --bind "$state/cache" /var/cache/libvirt
mount --bind "$state/log" /var/log/libvirt
for file in hosts passwd group; do
  mount --bind "$state/$file" "/etc/$file"
done
mount --bind "$state/run" /run
mkdir -p /run/udev /run/lock

# lxcfs shows each host the memory and CPU time of its own cgroup.
if [ -n "$controllers" ]; then
  mkdir -p /var/lib/libvirt/lxcfs
  LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/lxcfs /usr/bin/lxcfs --foreground -p /run/lxcfs.pid /var/lib/libvirt/lxcfs \
    </dev/null >/var/log/libvirt/lxcfs.log 2>&1 &
  for _ in $(seq 50); do
    [ -e /var/lib/libvirt/lxcfs/proc/meminfo ] && break
    sleep 0.1
  done
fi

bash "$here/virtd_start.sh"
trap 'exit 0' TERM
while :; do
  sleep 3600 &
  wait $! || true
done

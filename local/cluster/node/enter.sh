#!/bin/sh
# First process of a node: PID 1 of its own PID namespace, with mount, UTS, IPC and network
# namespaces of its own. Joins the node's cgroup, puts the node's file system together, enters it
# and becomes tini, which runs init.sh. When this process dies, the kernel ends all that it started.
#
# usage: enter.sh NAME STATE_DIR LOWER_DIRECTORIES CGROUP_PROCS_FILE...
set -eu
name=$1 state=$2 lower=$3
shift 3

# /proc is still the host's here: awk's parent is this process, by the id that the host knows.
awk '/^PPid:/ { print $2 }' /proc/self/status >"$state/pid.new"
for procs in "$@"; do
    echo 0 >"$procs"
done

mount --make-rprivate /
hostname "$name"

# An overlay over the shared, read-only trees; what grows, and what containerd puts overlays of its
# own on, lies on plain directories beside it.
root=$state/root
mkdir -p "$state/upper" "$state/work" "$root" "$state/var-lib" "$state/var-log"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$state/upper,workdir=$state/work" "$root"
mkdir -p "$root/var/lib/node" "$root/var/log" "$root/old"
for directory in containerd kubelet etcd cni local-path; do
    mkdir -p "$state/var-lib/$directory" "$root/var/lib/$directory"
    mount --bind "$state/var-lib/$directory" "$root/var/lib/$directory"
done
mount --bind "$state/var-log" "$root/var/log"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"

# From here on a reader of the pid file may enter: the last step is atomic for it.
cd "$root"
pivot_root . old
umount -l /old
# The kubelet passes mounts on to pods only from a shared root.
mount --make-rshared /
exec tini -- /usr/local/lib/node/init.sh

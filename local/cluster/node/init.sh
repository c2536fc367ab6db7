#!/bin/sh
# The node's services, each started again when it ends. A machine has systemd for this; two
# programs that restart need no more than a loop.
set -eu

keep_running() {
    log=$1
    shift
    while :; do
        "$@" >>"$log" 2>&1 || echo "$(date -Is) $1 ended with $?; starting it again" >>"$log"
        sleep 1
    done
}

ulimit -n "$(ulimit -Hn)"
keep_running /var/log/containerd.log containerd --config /etc/containerd/config.toml &
keep_running /var/log/kubelet.log /usr/local/lib/node/kubelet.sh &
# Waits for both, that is for ever: the node ends when its first process is ended.
wait

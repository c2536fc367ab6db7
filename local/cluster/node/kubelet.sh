#!/bin/sh
# Runs the kubelet once kubeadm has written its configuration (`init` or `join`).
set -eu
until [ -f /var/lib/kubelet/config.yaml ] &&
    { [ -f /etc/kubernetes/kubelet.conf ] || [ -f /etc/kubernetes/bootstrap-kubelet.conf ]; }; do
    sleep 0.5
done
# Written by kubeadm: KUBELET_KUBEADM_ARGS="--..."
. /var/lib/kubelet/kubeadm-flags.env
# Word splitting is wanted: the variable holds several flags.
# shellcheck disable=SC2086
exec kubelet --config=/var/lib/kubelet/config.yaml \
    --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
    --kubeconfig=/etc/kubernetes/kubelet.conf $KUBELET_KUBEADM_ARGS

# Sourced by run.sh and watch.sh.

readonly CONFIG=/config/haproxy.cfg
# HAProxy knows the certificate by its name, and finds the key beside it.
readonly CERTIFICATE=/tls/tls.crt KEY=/tls/tls.key
# Shared by both containers: what stands for the configuration, the certificate and the addresses that HAProxy has.
readonly APPLIED=/state/applied
# In place of addresses that were not to be had.
readonly UNKNOWN=-

# One line of JSON: the component, the event, and further fields as "name": value.
say() {
    printf '{"time":"%(%Y-%m-%dT%H:%M:%SZ)T","component":"%s","event":"%s"%s}\n' -1 "$1" "$2" "${3:+,$3}"
}

# A text as JSON, on one line.
quoted() {
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//[[:cntrl:]]/ }
    printf '"%s"' "$text"
}

# Read by haproxy.cfg: what the cluster calls itself, which the pod's search list tells (<namespace>.svc.<domain>
# svc.<domain> <domain>). HAProxy asks DNS for whole names.
CLUSTER_DOMAIN=cluster.local
while read -r word names; do
    [[ $word == search ]] || continue
    for name in $names; do
        [[ $name != svc.?* ]] || CLUSTER_DOMAIN=${name#svc.}
    done
done < /etc/resolv.conf
export CLUSTER_DOMAIN

# Stands for what these files hold.
digest() {
    local content
    content=$(sha256sum "$@") || return 1
    sha256sum <<< "$content" | cut -d' ' -f1
}

# Stands for the addresses of the Services that it sends requests to, which it looks up when it starts and at each
# reload. Fails while one of them has none.
addresses() {
    local name found all=
    for name in $SERVICE_NAMES; do
        found=$(timeout 5 getent ahostsv4 "$name") || return 1
        all+="$name $(cut -d' ' -f1 <<< "$found" | sort -u) "
    done
    sha256sum <<< "$all" | cut -d' ' -f1
}

# Sends one command to HAProxy's master process, which listens on the pod's loopback only, and waits for its
# answer until it closes the connection, or says nothing for that many seconds.
ask() {
    local command=$1 seconds=$2 line connection
    { exec {connection}<> "/dev/tcp/127.0.0.1/$MASTER_PORT"; } 2> /dev/null || return 1
    printf '%s\n' "$command" >&"$connection"
    while IFS= read -r -t "$seconds" line <&"$connection"; do
        printf '%s\n' "$line"
    done
    exec {connection}>&-
}

# Sourced by run.sh and watch.sh. Nothing is loaded from where Kubernetes puts files: they may change at any time. Both
# scripts copy them into a directory of their own, validate this copy, and have HAProxy load the same copy.
. /scripts/tls.sh

# Where Kubernetes puts the configuration, and the certificate tls.crt with its key tls.key.
readonly CONFIG=/config/haproxy.cfg TLS=/tls
# Shared by both containers, in memory. LIVE is a symbolic link to the copy that HAProxy loads when it starts or
# reloads. APPLIED has the digests of what it did load: configuration, certificate with key, addresses of Services.
readonly STATE=/state
readonly LIVE=$STATE/live APPLIED=$STATE/applied
# Stored instead of addresses that are not known yet.
readonly UNKNOWN=-
# Private keys are copied.
umask 077

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

# Read by haproxy.cfg: the cluster's domain, from the pod's search list (<namespace>.svc.<domain> svc.<domain>
# <domain>). HAProxy asks DNS for whole names.
CLUSTER_DOMAIN=cluster.local
while read -r word names; do
    [[ $word == search ]] || continue
    for name in $names; do
        [[ $name != svc.?* ]] || CLUSTER_DOMAIN=${name#svc.}
    done
done < /etc/resolv.conf
export CLUSTER_DOMAIN

# Identifies the content of these files.
digest() {
    local content
    content=$(sha256sum "$@" 2> /dev/null) || return 1
    cut -d' ' -f1 <<< "$content" | sha256sum | cut -d' ' -f1
}

# Copies a configuration, and a certificate with its key, into a new directory, and prints its path. Fails where a
# file is not there, or is just being replaced: a later try may succeed. tls.pem has both parts: HAProxy loads only
# this file, and gets the same bytes over its command line, where an empty line would end them.
stage() {
    local config=$1 tls=$2 copy
    # The kubelet replaces all files at once, by a link to another directory: a pair comes from one directory.
    [[ ! -e $tls/..data ]] || tls=$(readlink -f "$tls/..data") || return 1
    copy=$(mktemp -d "$STATE/XXXXXX") || return 1
    if cp "$config" "$copy/haproxy.cfg" 2> /dev/null && cp "$tls/tls.crt" "$tls/tls.key" "$copy/" 2> /dev/null &&
        sed '/^[[:space:]]*$/d' "$copy/tls.crt" "$copy/tls.key" > "$copy/tls.pem"; then
        printf '%s\n' "$copy"
    else
        rm -r "$copy"
        return 1
    fi
}

# Prints why a copy must not be loaded, and fails.
check() {
    check_certificate "$1/tls.crt" "$1/tls.key" && FILES=$1 haproxy -c -f "$1/haproxy.cfg" 2>&1 < /dev/null
}

# Makes a copy the one that HAProxy loads next.
point_to() {
    ln -s "$1" "$1.link" && mv -T "$1.link" "$LIVE"
}

# Writes down what HAProxy has: digests of the configuration, of the certificate with its key, and of the addresses.
applied() {
    printf '%s\n' "$1 $2 $3" > "$APPLIED.new" && mv "$APPLIED.new" "$APPLIED"
}

# Says what clients may not accept in a copy's certificate.
say_warnings() {
    local component=$1 copy=$2 line
    while IFS= read -r line; do
        say "$component" warning "\"certificate\":$(quoted "$line")"
    done < <(certificate_warnings "$copy/tls.crt")
}

# Identifies the addresses of the Services that HAProxy sends requests to. It looks them up when it starts and at each
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

# Sourced by run.sh and watch.sh. HAProxy loads no file directly from a Kubernetes mount, because such files may change
# at any time. Both scripts copy the files into a new directory, validate the copy, and have HAProxy load that copy.
. /scripts/tls.sh

# Where Kubernetes mounts the configuration, and the certificate tls.crt with its key tls.key.
readonly CONFIG=/config/haproxy.cfg TLS=/tls
# Shared by both containers, in memory. LIVE is a symbolic link to the copy that HAProxy loads when it starts or
# reloads. APPLIED contains digests of what HAProxy has loaded: configuration, certificate with key, Service addresses.
readonly STATE=/state
readonly LIVE=$STATE/live APPLIED=$STATE/applied
# Stands for addresses that are not known yet.
readonly UNKNOWN=-
# The copies contain private keys.
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

# The cluster's domain, from the pod's DNS search list (<namespace>.svc.<domain> svc.<domain> <domain>). haproxy.cfg
# needs it because HAProxy looks up only fully qualified names.
CLUSTER_DOMAIN=cluster.local
while read -r word names; do
    [[ $word == search ]] || continue
    for name in $names; do
        [[ $name != svc.?* ]] || CLUSTER_DOMAIN=${name#svc.}
    done
done < /etc/resolv.conf
export CLUSTER_DOMAIN

# Prints a digest of the content of these files.
digest() {
    local content
    content=$(sha256sum "$@" 2> /dev/null) || return 1
    cut -d' ' -f1 <<< "$content" | sha256sum | cut -d' ' -f1
}

# Copies a configuration, and a certificate with its key, into a new directory, and prints the directory's path. Fails
# if a file is missing or is being replaced right now; a later try may succeed. tls.pem contains certificate and key.
# HAProxy loads only this file, or gets the same bytes through its command line. There an empty line would end the
# input, so empty lines are removed.
stage() {
    local config=$1 tls=$2 copy
    # The kubelet replaces all files at once by pointing the link ..data to another directory. Resolving the link first
    # makes sure that certificate and key come from the same directory.
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

# If a copy must not be loaded, prints the reason and fails.
check() {
    check_certificate "$1/tls.crt" "$1/tls.key" && FILES=$1 haproxy -c -f "$1/haproxy.cfg" 2>&1 < /dev/null
}

# Makes HAProxy load this copy at its next start or reload.
point_to() {
    ln -s "$1" "$1.link" && mv -T "$1.link" "$LIVE"
}

# Records what HAProxy has loaded: digests of the configuration, of the certificate with its key, and of the addresses.
applied() {
    printf '%s\n' "$1 $2 $3" > "$APPLIED.new" && mv "$APPLIED.new" "$APPLIED"
}

# Logs each property of a copy's certificate that clients may refuse.
say_warnings() {
    local component=$1 copy=$2 line
    while IFS= read -r line; do
        say "$component" warning "\"certificate\":$(quoted "$line")"
    done < <(certificate_warnings "$copy/tls.crt")
}

# Prints a digest of the addresses of the Services that HAProxy sends requests to. HAProxy looks up these addresses when
# it starts and at each reload. Fails while a Service has no address.
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

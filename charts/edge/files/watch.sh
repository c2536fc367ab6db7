# Has HAProxy load what has changed. A certificate goes to the running worker, over its command line, and no connection
# is closed. For everything else HAProxy reloads: the old worker keeps its connections, a new one takes new
# connections. HAProxy gets only what was validated before. The command line is no place to find mistakes: HAProxy
# 3.0.11 closes a connection of the same thread after it has refused to commit a certificate (see ADR 26).
set -u
. /scripts/lib.sh
trap 'exit 0' TERM INT
# Looks without an answer from DNS, after which a new configuration waits no longer for one.
readonly PATIENCE=60

# Gives a validated copy's certificate to the worker that takes new connections. Fails, with HAProxy's message in
# `answer`, where it refuses: the file is larger than its buffer, say.
replace_certificate() {
    local pem
    pem=$(< "$1/tls.pem") || return 1
    answer=$(ask "@1 set ssl cert $LIVE/tls.pem <<"$'\n'"$pem"$'\n\nquit' 10) && [[ $answer == *Transaction* ]] &&
        answer=$(ask "@1 commit ssl cert $LIVE/tls.pem;quit" 10) && [[ $answer == *Success* ]] && return
    ask "@1 abort ssl cert $LIVE/tls.pem;quit" 10 > /dev/null
    return 1
}

# Has HAProxy load a validated copy. Where it fails, the copy before it is again what a start would load.
reload() {
    local copy=$1 before
    before=$(readlink "$LIVE")
    point_to "$copy"
    # Answered when the new worker is ready.
    if answer=$(ask reload 60) && [[ $answer == *Success=1* ]]; then
        rm -r "$before"
        return 0
    fi
    # Tried again at the next look: HAProxy may only just be starting.
    say watch failed "\"because\":$(quoted "${answer:-the master process does not answer}")"
    # Unless HAProxy's container has just restarted and made a new copy.
    [[ $(readlink "$LIVE") != "$copy" ]] || point_to "$before"
    rm -r "$copy"
    return 1
}

# Validates the new certificate, beside the configuration that HAProxy has, and loads it.
take_certificate() {
    local copy before words files
    copy=$(stage "$LIVE/haproxy.cfg" "$TLS") || return 0
    tls=$(digest "$copy/tls.crt" "$copy/tls.key")
    files="\"files\":$(quoted "${tls:0:12}")"
    if ! words=$(check "$copy"); then
        refused_tls=$tls
        say watch refused "$files,\"because\":$(quoted "$words")"
        rm -r "$copy"
        return 0
    fi
    if replace_certificate "$copy"; then
        before=$(readlink "$LIVE")
        point_to "$copy"
        rm -r "$before"
        applied "$applied_config" "$tls" "$applied_addresses"
        say watch renewed "$files"
    else
        # A reload has no such limit.
        say watch reloading "$files,\"because\":$(quoted "${answer:-the master process does not answer}")"
        reload "$copy" || return 0
        # Also of addresses that it has now looked up anew: where they have changed, it reloads once more.
        applied "$applied_config" "$tls" "$applied_addresses"
        say watch reloaded "$files"
    fi
    say_warnings watch "$LIVE"
}

# Validates the new configuration, beside the certificate that HAProxy has, and loads it; or the same configuration
# again, for new addresses.
take_configuration() {
    local found=$1 copy words files
    copy=$(stage "$CONFIG" "$LIVE") || return 0
    config=$(digest "$copy/haproxy.cfg")
    files="\"files\":$(quoted "${config:0:12}")"
    if ! words=$(check "$copy"); then
        refused_config=$config
        say watch refused "$files,\"because\":$(quoted "$words")"
        rm -r "$copy"
    elif reload "$copy"; then
        applied "$config" "$applied_tls" "${found:-$UNKNOWN}"
        say watch reloaded "$files,\"addresses\":$(quoted "${found:0:12}")"
    fi
}

look() {
    local config tls found applied_config applied_tls applied_addresses answer
    # Without this file HAProxy is about to start; it will load what is there.
    read -r applied_config applied_tls applied_addresses 2> /dev/null < "$APPLIED" || return 0
    config=$(digest "$CONFIG") && tls=$(digest "$TLS/tls.crt" "$TLS/tls.key") || return 0
    if [[ $tls == "$applied_tls" ]]; then
        refused_tls=
    elif [[ $tls != "$refused_tls" ]]; then
        take_certificate
        read -r applied_config applied_tls applied_addresses 2> /dev/null < "$APPLIED" || return 0
    fi
    if found=$(addresses); then
        unanswered=0
    else
        # Those that HAProxy has are better than none: DNS alone is no reason to reload.
        ((++unanswered))
        found=
    fi
    if [[ $config == "$applied_config" && ${found:-$applied_addresses} == "$applied_addresses" ]]; then
        refused_config=
    elif [[ $config == "$refused_config" ]]; then
        return 0
    elif [[ -z $found ]] && ((unanswered < PATIENCE)); then
        ((unanswered > 1)) || say watch waiting "\"for\":$(quoted "addresses of $SERVICE_NAMES")"
    else
        take_configuration "$found"
    fi
}

# Digests of what was refused, which is said once.
refused_tls=
refused_config=
unanswered=0
while :; do
    # Its age is what the probes look at.
    : > "$STATE/watched"
    look
    # In the background, so that a signal is heard at once.
    sleep "$INTERVAL_SECONDS" &
    wait $!
done

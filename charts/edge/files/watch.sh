# Makes HAProxy load changed files. A new certificate is sent to the running worker through HAProxy's command line,
# which closes no connection. After any other change HAProxy reloads: the old worker keeps its connections, and a new
# worker takes new connections. Files are validated before HAProxy gets them, because HAProxy 3.0.11 closes one
# connection of the same thread when it refuses to commit a certificate (see ADR 26).
set -u
. /scripts/lib.sh
trap 'exit 0' TERM INT
# Looks without an answer from DNS, after which a new configuration waits no longer for one.
readonly PATIENCE=60

# Sends a validated copy's certificate to the worker that takes new connections. Fails if HAProxy refuses it, for
# example because the file is larger than HAProxy's buffer; `answer` then contains HAProxy's message.
replace_certificate() {
    local pem
    pem=$(< "$1/tls.pem") || return 1
    answer=$(ask "@1 set ssl cert $LIVE/tls.pem <<"$'\n'"$pem"$'\n\nquit' 10) && [[ $answer == *Transaction* ]] &&
        answer=$(ask "@1 commit ssl cert $LIVE/tls.pem;quit" 10) && [[ $answer == *Success* ]] && return
    ask "@1 abort ssl cert $LIVE/tls.pem;quit" 10 > /dev/null
    return 1
}

# Makes HAProxy reload with a validated copy. If the reload fails, HAProxy's next start uses the previous copy again.
reload() {
    local copy=$1 before
    before=$(readlink "$LIVE")
    point_to "$copy"
    # HAProxy answers when the new worker is ready.
    if answer=$(ask reload 60) && [[ $answer == *Success=1* ]]; then
        rm -r "$before"
        return 0
    fi
    # The next look tries again: HAProxy may still be starting.
    say watch failed "\"because\":$(quoted "${answer:-the master process does not answer}")"
    # If HAProxy's container has restarted meanwhile, LIVE already points to another copy; leave it alone.
    [[ $(readlink "$LIVE") != "$copy" ]] || point_to "$before"
    rm -r "$copy"
    return 1
}

# Validates the new certificate together with the configuration that HAProxy uses now, and loads it.
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
        # A reload does not have the size limit of the command line.
        say watch reloading "$files,\"because\":$(quoted "${answer:-the master process does not answer}")"
        reload "$copy" || return 0
        # The reload also looked up the addresses again, but the old digest is recorded: if the addresses have changed,
        # the next look reloads once more.
        applied "$applied_config" "$tls" "$applied_addresses"
        say watch reloaded "$files"
    fi
    say_warnings watch "$LIVE"
}

# Validates the new configuration together with the certificate that HAProxy uses now, and loads it. Also loads an
# unchanged configuration again if addresses have changed.
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
    # If this file is missing, HAProxy is about to start and will load the current files itself.
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
        # If DNS does not answer, HAProxy keeps the addresses that it has and does not reload.
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

# Digests of refused files. A refusal is logged only once.
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

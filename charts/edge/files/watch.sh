# Has HAProxy take what has changed. A certificate is put into the worker that runs, over its command line: nothing
# is cut. For all else HAProxy reloads: the old worker keeps its connections, the new one takes new ones. Nothing
# that HAProxy would refuse is ever loaded.
set -u
. /scripts/lib.sh
trap 'exit 0' TERM INT
# Looks without an answer from DNS, after which a new configuration waits no longer for one.
readonly PATIENCE=60

# Gives the certificate to the worker that takes new connections. Fails, with HAProxy's words in `answer` and
# nothing changed, where it refuses: the key is another's, say.
replace_certificate() {
    local pem
    # An empty line would end it.
    pem=$(sed '/^[[:space:]]*$/d' "$CERTIFICATE" "$KEY") || return 1
    answer=$(ask "@1 set ssl cert $CERTIFICATE <<"$'\n'"$pem"$'\n\nquit' 10) &&
        answer=$(ask "@1 commit ssl cert $CERTIFICATE;quit" 10) && [[ $answer == *Success* ]] && return
    ask "@1 abort ssl cert $CERTIFICATE;quit" 10 > /dev/null
    return 1
}

# Gives up where there is nothing to do.
look() {
    local read_config read_tls read_addresses config tls found want words answer
    # HAProxy is about to start; it will read what is there.
    [[ -e $APPLIED ]] || return 0
    read -r read_config read_tls read_addresses < "$APPLIED"
    config=$(digest "$CONFIG") && tls=$(digest "$CERTIFICATE" "$KEY") || return 0
    if found=$(addresses); then
        unanswered=0
    else
        # Those that HAProxy has are better than none: DNS alone is no reason to reload.
        ((++unanswered))
        found=
    fi
    want="$config $tls ${found:-$read_addresses}"
    [[ $want != "$read_config $read_tls $read_addresses" && $want != "$refused" ]] || return 0
    if [[ $tls != "$read_tls" && $want != "$refused_certificate" ]]; then
        if replace_certificate; then
            say watch renewed "\"files\":$(quoted "${tls:0:12}")"
            printf '%s\n' "$read_config $tls $read_addresses" > "$APPLIED"
            return 0
        fi
        # A reload may do what this did not, or says what is wrong.
        refused_certificate=$want
        say watch reloading "\"files\":$(quoted "${tls:0:12}"),\"because\":$(quoted "${answer:-the master process does not answer}")"
    fi
    if [[ -z $found ]] && ((unanswered < PATIENCE)); then
        ((unanswered > 1)) || say watch waiting "\"for\":$(quoted "addresses of $SERVICE_NAMES")"
        return 0
    fi
    if ! words=$(haproxy -c -f "$CONFIG" 2>&1); then
        refused=$want
        say watch refused "\"files\":$(quoted "${config:0:12} ${tls:0:12}"),\"because\":$(quoted "$words")"
    # Answered when the new worker is ready.
    elif answer=$(ask reload 60) && [[ $answer == *Success=1* ]]; then
        refused=
        printf '%s\n' "$config $tls ${found:-$UNKNOWN}" > "$APPLIED"
        say watch reloaded "\"files\":$(quoted "${config:0:12} ${tls:0:12}"),\"addresses\":$(quoted "${found:0:12}")"
    else
        # Tried again at the next look: HAProxy may only just be starting.
        say watch failed "\"because\":$(quoted "${answer:-the master process does not answer}")"
    fi
}

refused=
refused_certificate=
unanswered=0
while :; do
    # Its age is what the probes look at.
    : > /state/watched
    look
    # In the background, so that a signal is heard at once.
    sleep "$INTERVAL_SECONDS" &
    wait $!
done

# Has HAProxy reload when what it reads has changed: the old worker keeps its connections, the new one takes
# new ones. A configuration that HAProxy would refuse is never loaded.
set -u
. /scripts/lib.sh
trap 'exit 0' TERM INT
# Looks without an answer from DNS, after which a new certificate waits no longer for one.
readonly PATIENCE=60

# Gives up where there is nothing to do.
look() {
    local read_files read_addresses found now want words answer
    # HAProxy is about to start; it will read what is there.
    [[ -e $APPLIED ]] || return 0
    read -r read_files read_addresses < "$APPLIED"
    now=$(files) || return 0
    if found=$(addresses); then
        unanswered=0
    else
        # Those that HAProxy has are better than none: DNS alone is no reason to reload.
        ((++unanswered))
        found=
    fi
    want="$now ${found:-$read_addresses}"
    [[ $want != "$read_files $read_addresses" && $want != "$refused" ]] || return 0
    if [[ -z $found ]] && ((unanswered < PATIENCE)); then
        ((unanswered > 1)) || say watch waiting "\"for\":$(quoted "addresses of $SERVICE_NAMES")"
        return 0
    fi
    if ! words=$(haproxy -c -f "$CONFIG" 2>&1); then
        refused=$want
        say watch refused "\"files\":$(quoted "${now:0:12}"),\"because\":$(quoted "$words")"
    # Answered when the new worker is ready.
    elif answer=$(ask reload 60) && [[ $answer == *Success=1* ]]; then
        refused=
        printf '%s\n' "$now ${found:-$UNKNOWN}" > "$APPLIED"
        say watch reloaded "\"files\":$(quoted "${now:0:12}"),\"addresses\":$(quoted "${found:0:12}")"
    else
        # Tried again at the next look: HAProxy may only just be starting.
        say watch failed "\"because\":$(quoted "${answer:-the master process does not answer}")"
    fi
}

refused=
unanswered=0
while :; do
    # Its age is what the probes look at.
    : > /state/watched
    look
    # In the background, so that a signal is heard at once.
    sleep "$INTERVAL_SECONDS" &
    wait $!
done

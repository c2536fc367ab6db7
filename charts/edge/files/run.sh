# Runs HAProxy, and ends it gently: it gives up its ports at once, and its connections by a deadline.
set -u
. /scripts/lib.sh
# Until there is something to end gently.
trap 'exit 0' TERM INT

# Written before HAProxy starts, so that what changes in between is seen as a change. Without an address for a
# Service it starts all the same: signalling and TURN need none, and the watcher has it reload later.
for _ in 1 2 3; do
    found=$(addresses) && break
    found=$UNKNOWN
    say run waiting "\"for\":$(quoted "addresses of $SERVICE_NAMES")"
    sleep 2
done
printf '%s\n' "$(digest "$CONFIG") $(digest "$CERTIFICATE" "$KEY") $found" > "$APPLIED"

stopping=
stop() {
    [[ -z $stopping ]] || return 0
    stopping=$(printf '%(%s)T' -1)
    local deadline=$((stopping + NOTICE_SECONDS + DRAIN_SECONDS)) left
    left=$(ask '@1 show info;quit' 2 | sed -n 's/^CurrConns: //p')
    say run stopping "\"connections\":${left:-null},\"deadline\":$(quoted "$(printf '%(%Y-%m-%dT%H:%M:%SZ)T' "$deadline")")"
    sleep "$NOTICE_SECONDS"
    # Listening ends, and HAProxy with its last connection.
    kill -USR1 "$haproxy"
    # hard-stop-after in the configuration is a later deadline, for connections that a reload left.
    (
        sleep "$DRAIN_SECONDS"
        left=$(ask '@1 show info;quit' 2 | sed -n 's/^CurrConns: //p')
        say run cutting "\"connections\":${left:-null}"
        kill -TERM "$haproxy"
    ) &
}
trap stop TERM INT

haproxy -W -S "127.0.0.1:$MASTER_PORT" -f "$CONFIG" &
haproxy=$!
# A trapped signal ends `wait` early.
while kill -0 "$haproxy" 2> /dev/null; do
    wait "$haproxy"
    code=$?
done
if [[ -n $stopping ]]; then
    # Workers that were cut off at the deadline are no failure of the pod.
    say run stopped "\"seconds\":$(($(printf '%(%s)T' -1) - stopping))"
    exit 0
fi
say run ended "\"code\":$code"
exit "$code"

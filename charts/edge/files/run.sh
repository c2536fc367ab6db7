# Runs HAProxy, and ends it gently: it gives up its ports at once, and its connections by a deadline.
set -u
. /scripts/lib.sh
# Until there is something to end gently.
trap 'exit 0' TERM INT

# The watcher waits until this file exists.
rm -f "$APPLIED"

# Files that HAProxy cannot load do not replace the previous valid copy: a container that restarts after a bad change
# uses the previous copy. A pod's first container has no previous copy, so it logs the reason and exits.
if copy=$(stage "$CONFIG" "$TLS"); then
    if because=$(check "$copy"); then
        before=$(readlink "$LIVE")
        point_to "$copy"
        [[ -z $before ]] || rm -r "$before"
        because=
    else
        rm -r "$copy"
    fi
else
    because="files are missing in ${CONFIG%/*} or $TLS"
fi
if [[ -n $because ]]; then
    say run refused "\"because\":$(quoted "$because"),\"goes_on\":$([[ -e $LIVE ]] && echo true || echo false)"
    [[ -e $LIVE ]] || exit 1
fi
say_warnings run "$LIVE"

# HAProxy starts even if a Service has no address: signalling and TURN do not need one, and the watcher reloads HAProxy
# when the address is known. The addresses are looked up before HAProxy starts, so that the watcher notices a change
# that happens in between.
for _ in 1 2 3; do
    found=$(addresses) && break
    found=$UNKNOWN
    say run waiting "\"for\":$(quoted "addresses of $SERVICE_NAMES")"
    sleep 2
done
applied "$(digest "$LIVE/haproxy.cfg")" "$(digest "$LIVE/tls.crt" "$LIVE/tls.key")" "$found"

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

FILES=$LIVE haproxy -W -S "127.0.0.1:$MASTER_PORT" -f "$LIVE/haproxy.cfg" < /dev/null &
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

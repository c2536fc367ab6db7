# PID 1 of an SFU's container. livekit-server gets the arguments of this script.
#
# A stop drains: the first SIGTERM lets the server wait for its participants, for ever. After DRAIN_SECONDS a
# second one ends it in order: who is still there is told, and joins elsewhere at once. A kill would leave
# them to find out by themselves.
#
# NODE_IP is what clients are told. It comes as the address that the node has itself; where another one is
# translated to that, NODE_ADDRESSES says so: `<node>=<address>` for each such node.
set -eu

log() {
  printf '{"level":"info","ts":"%s","logger":"run.sh","msg":"%s"}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"
}

running() {
  kill -0 "$server" 2>/dev/null
}

for entry in ${NODE_ADDRESSES:-}; do
  if [ "${entry%%=*}" = "$NODE_NAME" ]; then
    NODE_IP=${entry#*=}
    export NODE_IP
    log "clients reach this node at $NODE_IP"
  fi
done

stop_asked=no
trap 'stop_asked=yes' TERM INT

/livekit-server "$@" &
server=$!

# A trap runs when the command before it ends: so no command takes longer than a second.
while running && [ "$stop_asked" = no ]; do
  sleep 1
done
if [ "$stop_asked" = no ]; then
  status=0
  wait "$server" || status=$?
  log "livekit-server ended by itself with status $status"
  exit "$status"
fi

log "draining, at most $DRAIN_SECONDS s"
kill -TERM "$server" 2>/dev/null || true
waited=0
while running && [ "$waited" -lt "$DRAIN_SECONDS" ]; do
  sleep 1
  waited=$((waited + 1))
done
if running; then
  log "deadline passed after $waited s: telling who is left to go elsewhere"
  kill -TERM "$server" 2>/dev/null || true
else
  log "drained after $waited s"
fi
status=0
wait "$server" || status=$?
exit "$status"

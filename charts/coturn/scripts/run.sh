# PID 1 of a TURN server's container. turnserver gets the arguments of this script.
#
# - A changed certificate is validated. A valid one is loaded (SIGUSR2): relays go on, and new TLS connections get it.
# - A stop drains (SIGUSR1): new allocations are refused, those that are there live on until their clients
#   give them up, or until the deadline.
#
# From the environment: CERTIFICATE_CHECK_SECONDS, DRAIN_SECONDS, RELAY_FIRST, RELAY_LAST.
set -euo pipefail
. /scripts/tls.sh

# The server's own files are there, too; the rest of the file system cannot be written.
RUN=/run/coturn
# For the exporter: it is there while the server drains, and a container that starts again begins anew.
DRAINING=/run/reports/draining
# TLS: where Kubernetes mounts the certificate. COPY: the directory that the server's configuration names.
TLS=/tls
COPY=$RUN/tls
rm -f "$DRAINING"

log() {
  printf '%(%FT%TZ)T run.sh: %s\n' -1 "$*"
}

# Prints a digest of the certificate and its key in a directory.
certificate() {
  cat "$1/tls.crt" "$1/tls.key" | sha256sum
}

# Copies the certificate and its key for the server, which reads only the copy. If the certificate is invalid, logs the
# reason and keeps the previous copy, so the server uses the previous certificate, also after a container restart.
take_certificate() {
  local from=$TLS new=$COPY.new why
  # The kubelet replaces both files at once by pointing the link ..data to another directory. Resolving the link first
  # makes sure that both files come from the same directory.
  if [[ -e $TLS/..data ]]; then
    from=$(readlink -f "$TLS/..data") || return 1
  fi
  rm -rf "$new"
  mkdir -m 700 "$new"
  if ! cp "$from/tls.crt" "$from/tls.key" "$new/"; then
    # The files are being replaced right now; the next check finds them.
    current=$looked_at
    return 1
  fi
  current=$(certificate "$new")
  if ! why=$(check_certificate "$new/tls.crt" "$new/tls.key"); then
    log "the certificate is refused: $why"
    # If there is no previous copy, use the invalid certificate: without any certificate the server would not listen for
    # TLS until its next start. With an invalid one it listens, and can load a valid one later.
    [[ ! -e $COPY ]] || return 1
  fi
  while IFS= read -r why; do
    log "clients may refuse the certificate: $why"
  done < <(certificate_warnings "$new/tls.crt")
  rm -rf "$COPY"
  mv "$new" "$COPY"
}

# The kernel's own list: each relayed address is a UDP socket in the relay range. The exporter's own short-lived socket
# may be among them.
relays() {
  local number=0 local_address port
  while read -r _ local_address _; do
    port=$((16#${local_address##*:}))
    if ((port >= RELAY_FIRST && port <= RELAY_LAST)); then
      number=$((number + 1))
    fi
  done < <(tail -n +2 /proc/net/udp)
  echo "$number"
}

running() {
  kill -0 "$server" 2>/dev/null
}

# Sleeps a second: a signal or the server's end cuts it short.
pause() {
  sleep 1 &
  local sleeper=$!
  wait -n "$server" "$sleeper" || true
  kill "$sleeper" 2>/dev/null || true
}

stop_asked=no
trap 'stop_asked=yes' TERM INT

# The official image gives its turnserver a capability for ports below 1024, and the kernel refuses to start
# such a file where all capabilities are dropped. A copy has none.
cp "$(command -v turnserver)" "$RUN/turnserver"

# turnserver reads secrets also from its database, which is empty here. Its threads open the file at the first requests.
# If they have to create its tables then, they lock each other out, and the server answers valid credentials with 401
# until it is restarted (coturn 4.18). So the tables are created before the server starts.
turnadmin --list --userdb "$RUN/turndb"

looked_at=none
take_certificate || true
looked_at=$current
"$RUN/turnserver" "$@" &
server=$!

deadline=
next_look=0
while running; do
  pause

  if ((SECONDS >= next_look)); then
    next_look=$((SECONDS + CERTIFICATE_CHECK_SECONDS))
    # If the files cannot be read now, try again at the next check; do not end calls because of it.
    current=$(certificate "$TLS") || current=$looked_at
    if [[ $current != "$looked_at" ]] && running; then
      if take_certificate; then
        log "the certificate has changed: loading it"
        kill -USR2 "$server"
      fi
      looked_at=$current
    fi
  fi

  if [[ $stop_asked == yes && -z $deadline ]] && running; then
    log "draining, at most $DRAIN_SECONDS s; relays now: $(relays)"
    kill -USR1 "$server"
    touch "$DRAINING"
    deadline=$((SECONDS + DRAIN_SECONDS))
  fi

  if [[ -n $deadline ]] && ((SECONDS >= deadline)) && running; then
    log "deadline passed with relays left: $(relays)"
    kill -TERM "$server"
    wait "$server" || true
    exit 0
  fi
done

status=0
wait "$server" || status=$?
if [[ -n $deadline && $status == 0 ]]; then
  log "drained"
else
  log "turnserver ended by itself with status $status"
fi
exit "$status"

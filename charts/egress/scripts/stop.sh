# Stops the worker of this container in order. Kubernetes runs this hook before it sends SIGTERM.
#
# On SIGTERM, livekit/egress accepts no more requests and waits for its recordings, without a limit. A recording
# that is killed at the end of the grace period is lost, for its file is not uploaded yet. So after
# FINISH_AFTER_SECONDS each recording gets a SIGINT: it ends, completes its file and uploads it. The service does
# not pass this signal on (v1.14, cmd/server/main.go takes one signal only), so it goes to the recordings' own
# processes, `egress run-handler`.
#
# Argument: the process id of the service, or of its init process.
set -u

main=$1

end_recordings() {
  local file words program
  for file in /proc/[0-9]*/cmdline; do
    words=()
    { mapfile -d '' -t words <"$file"; } 2>/dev/null
    program=${words[0]:-}
    if [ "${program##*/} ${words[1]:-}" = "egress run-handler" ]; then
      file=${file%/cmdline}
      kill -INT "${file#/proc/}" 2>/dev/null
    fi
  done
}

kill -TERM "$main" 2>/dev/null
ended=no
SECONDS=0
while kill -0 "$main" 2>/dev/null; do
  if [ "$ended" = no ] && [ "$SECONDS" -ge "$FINISH_AFTER_SECONDS" ]; then
    ended=yes
    end_recordings
  fi
  sleep 1
done

# Starts the server of this pod, as master or replica.
#
# Nothing is kept of what it was. It becomes what all Sentinels that answer, at least two, say in three looks one
# second apart: one that was away during a failover is put right by the others in that time. So a pod that was
# master once does not come back as one with old data. Where one goes on disagreeing (it has another password,
# while new ones are brought in, and hears nobody) the two that agree are believed after fifteen looks.
. /config/common.sh

started=$SECONDS
# After a restart of all three the last master may be the last to come. A replica that runs could be promoted
# in its place, with what it had when it stopped: so none runs before the master does, or its time is up.
late() { ((SECONDS - started >= restart_grace_seconds)); }

# How many Sentinels answer, how many of them name the same master, and its name.
votes() {
  local host answer count heard=0 most=0 name=""
  local -A named=()
  for host in 127.0.0.1 "${others[@]}"; do
    answer="$(master_by "$host")" || continue
    heard=$((heard + 1))
    [[ -n "$answer" ]] || continue
    count=$((${named[$answer]:-0} + 1))
    named[$answer]=$count
    if ((count > most)); then
      most=$count
      name="$answer"
    fi
  done
  echo "$heard $most $name"
}

has_data() { [[ -e /data/appendonlydir || -e /data/sentinel/first ]]; }

said=""
same=0
before=""
while true; do
  read -r heard most master < <(votes)
  # One alone is not believed, unless nobody else comes.
  ((most >= 2)) || late || master=""
  if [[ -n "$master" && "$master" == "$before" ]]; then same=$((same + 1)); else same=1; fi
  before="$master"
  needed=3
  ((most == heard)) || needed=15
  if [[ -z "$master" ]]; then
    now="waiting for Sentinels that agree on a master"
  elif ((same < needed)); then
    now="looking again: $most of $heard Sentinels name $master"
  elif [[ "$master" == "$me" ]]; then
    # An empty master would empty its replicas. Left alone it is soon taken for dead, and one of them promoted.
    if has_data || late; then break; fi
    now="waiting to be replaced as master: the volume of this pod is empty"
  else
    if answers "$master" || late; then break; fi
    now="waiting for the master $master"
  fi
  [[ "$now" == "$said" ]] || say "$now"
  said="$now"
  sleep 1
done

options=(--replica-announce-ip "$me" --replica-announce-port "$redis_port")
if [[ "$master" == "$me" ]]; then
  say "as master"
else
  say "as replica of $master"
  options+=(--replicaof "$master $redis_port")
fi
exec redis-server /config/redis.conf "${options[@]}"

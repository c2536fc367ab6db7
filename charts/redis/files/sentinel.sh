# Starts the Sentinel of this pod.
#
# It goes on from what it last wrote down: Sentinels that disagree settle it among themselves, for the newer
# epoch wins. One that has nothing (a new pod, a lost volume) asks the others. It may take redis-0 for the
# first master only when both others say that they know none either: an answer that does not come is no "no".
. /config/common.sh

state=/data/sentinel
conf="$state/sentinel.conf"
mkdir -p "$state"
umask 077

# What follows "sentinel $1 " in the last file; nothing where there is none.
kept() { { sed -n "s/^sentinel $1 //p" "$conf" 2>/dev/null | tail -n 1; } || true; }

known="$(kept "monitor $master_name")"
master="${known%% *}"
# A name of another Service is nobody's any more.
[[ " $me ${others[*]} " == *" $master "* ]] || master=""

if [[ -z "$master" ]]; then
  # A Sentinel without a master, which answers those who ask it the same question.
  { cat /config/sentinel.conf; echo "port $sentinel_port"; } >"$state/none.conf"
  redis-server "$state/none.conf" --sentinel &
  asked=$!
  say "nothing written down; asking ${others[*]}"
  while [[ -z "$master" ]]; do
    unknown=0
    for other in "${others[@]}"; do
      if answer="$(master_by "$other")"; then
        [[ -n "$answer" ]] && master="$answer" || unknown=$((unknown + 1))
      fi
    done
    if [[ -z "$master" && "$unknown" == "${#others[@]}" && "$me" == "$(name_of 0)" ]]; then
      say "nobody knows a master: this is the first one"
      master="$me"
      touch "$state/first"
    fi
    [[ -n "$master" ]] || sleep 1
  done
  kill "$asked"
  wait "$asked" || true
fi

# Names decide the identity, so that a lost volume brings no fourth Sentinel into the others' count.
id_of() { echo -n "$1" | sha1sum | cut -d ' ' -f 1; }

{
  cat /config/sentinel.conf
  echo "port $sentinel_port"
  echo "sentinel myid $(id_of "$me")"
  echo "sentinel announce-ip $me"
  echo "sentinel announce-port $sentinel_port"
  echo "sentinel monitor $master_name $master $redis_port 2"
  echo "sentinel down-after-milliseconds $master_name $down_after_ms"
  echo "sentinel failover-timeout $master_name $failover_timeout_ms"
  echo "sentinel parallel-syncs $master_name 1"
  for key in "current-epoch" "config-epoch $master_name" "leader-epoch $master_name"; do
    value="$(kept "$key")"
    [[ -z "$value" ]] || echo "sentinel $key $value"
  done
  for other in "${others[@]}"; do
    echo "sentinel known-sentinel $master_name $other $sentinel_port $(id_of "$other")"
  done
  for server in "$me" "${others[@]}"; do
    [[ "$server" == "$master" ]] || echo "sentinel known-replica $master_name $server $redis_port"
  done
  # Sentinel writes its passwords into its file whenever it writes: the file is its own user's alone.
  cat "/acl/$auth_key"
} >"$conf.new"
mv "$conf.new" "$conf"
say "the master is $master, as far as this Sentinel knows"
exec redis-server "$conf" --sentinel

# What both start scripts share. Values come from settings.sh beside this file.
set -euo pipefail
. /config/settings.sh
# The shell is the container's first process: without a trap it would not hear SIGTERM.
trap 'exit 0' TERM

say() { echo "start: $*"; }

# Whole names with a final dot: the search list would send every failed lookup on to name servers outside the
# cluster, and a Sentinel that waits two seconds for one takes itself for ill and fails nothing over.
cluster_domain() {
  local word
  while read -r word; do
    if [[ "$word" == svc.* ]]; then
      echo "${word#svc.}"
      return
    fi
  done < <(sed -n 's/^search //p' /etc/resolv.conf | tr ' ' '\n')
  say "no search domain svc.<cluster domain> in /etc/resolv.conf" >&2
  return 1
}

domain="$(cluster_domain)"
name_of() { echo "${HOSTNAME%-*}-$1.$service.$namespace.svc.$domain."; }
me="$(name_of "${HOSTNAME##*-}")"
others=()
for ordinal in 0 1 2; do
  [[ "$(name_of "$ordinal")" == "$me" ]] || others+=("$(name_of "$ordinal")")
done

# The master's name as the Sentinel at host $1 knows it; empty where it knows none. Fails where it is silent.
# The user needs no password, and may ask nothing else.
master_by() {
  timeout 3 redis-cli -e --no-auth-warning -h "$1" -p "$sentinel_port" --user probe --pass none \
    sentinel get-master-addr-by-name "$master_name" 2>/dev/null | sed -n 1p
}

# Whether a server answers at host $1, be it that it still loads its data.
answers() {
  [[ -n "$(timeout 3 redis-cli --no-auth-warning -h "$1" -p "$redis_port" --user probe --pass none ping 2>/dev/null)" ]]
}

# Whether the server is of use: as master, or as a replica that follows one. An update goes on to the next pod only
# then, so the one that it comes to last, be it the master, leaves the data with somebody.
#
# A replica that finds no way to its master is waited for, but not for ever: where an update brings new passwords,
# old and new servers do not let each other in, and it would never end.
set -euo pipefail
. /config/settings.sh

# "slave", host, port, state of the link, offset.
mapfile -t role < <(redis-cli -e --no-auth-warning -p "$redis_port" --user probe --pass none role 2>/dev/null)
if [[ "${role[0]:-}" == master || "${role[3]:-}" == connected ]]; then
  exit 0
fi
read -r uptime _ </proc/uptime
stat=($(</proc/1/stat))
age=$((${uptime%.*} - stat[21] / 100))
[[ "${role[0]:-}" == slave ]] && ((age >= restart_grace_seconds))

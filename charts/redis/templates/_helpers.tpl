{{/* Selectors are immutable: only what identifies the release, never a version. */}}
{{- define "redis.selectorLabels" -}}
app.kubernetes.io/name: redis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of pods: no version either, or a release of the chart alone would restart them. */}}
{{- define "redis.podLabels" -}}
{{ include "redis.selectorLabels" . }}
app.kubernetes.io/component: state
app.kubernetes.io/part-of: livekit-platform
{{- end }}

{{- define "redis.labels" -}}
{{ include "redis.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "redis.conf" -}}
port {{ .Values.port }}
# Every address of the pod: who may connect is the NetworkPolicy's business, who may do what the ACL's.
bind * -::*
protected-mode no
aclfile /acl/{{ .Values.aclSecret.key }}
dir /data
# At most one second of writes is lost in a crash; snapshots would add nothing.
appendonly yes
appendfsync everysec
save ""
maxmemory {{ .Values.maxmemoryMib }}mb
maxmemory-policy noeviction
tcp-keepalive 60
# To standard output.
logfile ""
{{- if .Values.sentinel.enabled }}
# How a replica logs on to its master.
include /acl/{{ .Values.sentinel.replicationKey }}
# A master whose replicas are all out of reach takes no writes: while it is cut off, another one may be promoted,
# and what it had taken would be lost. It costs a second of refused writes in each failover, until the remaining
# replica follows; and with two of the three away, nothing is written: then there is no majority to promote either.
min-replicas-to-write 1
min-replicas-max-lag 10
# A replica that was away for seconds catches up without a whole copy.
repl-backlog-size 8mb
# A whole copy begins at once: until it is made, writes may be refused.
repl-diskless-sync-delay 0
{{- end }}
{{- end }}

{{- define "redis.sentinel.conf" -}}
bind * -::*
protected-mode no
aclfile /acl/{{ .Values.sentinel.aclKey }}
dir /data/sentinel
# To standard output.
logfile ""
# Addresses of pods change with every restart; their names do not.
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
{{- end }}

{{/* Its name says which kind it is: a StatefulSet cannot change its Service, nor a Service its address, so with
another kind both are made anew. Changed in place, new pods would wait for a master among the old ones for ever. */}}
{{- define "redis.service" -}}
{{ .Release.Name }}{{ if .Values.sentinel.enabled }}-pods{{ end }}
{{- end }}

{{- define "redis.settings" -}}
service={{ include "redis.service" . | squote }}
namespace={{ .Release.Namespace | squote }}
redis_port={{ .Values.port }}
{{- with .Values.sentinel }}
sentinel_port={{ .port }}
master_name={{ .masterName | squote }}
down_after_ms={{ .downAfterMs | int }}
failover_timeout_ms={{ .failoverTimeoutMs | int }}
restart_grace_seconds={{ .restartGraceSeconds }}
auth_key={{ .authKey | squote }}
{{- end }}
{{- end }}

{{/* Everything that is mounted at /config. */}}
{{- define "redis.files" -}}
redis.conf: |
  {{- include "redis.conf" . | nindent 2 }}
{{- if .Values.sentinel.enabled }}
sentinel.conf: |
  {{- include "redis.sentinel.conf" . | nindent 2 }}
settings.sh: |
  {{- include "redis.settings" . | nindent 2 }}
{{- range list "common.sh" "ready.sh" "redis.sh" "sentinel.sh" }}
{{ . }}: |
  {{- $.Files.Get (printf "files/%s" .) | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/*
A PING by a user that may do hardly more and needs no password: no secret in an argument list. Any password does
for it; one must be sent because the user `default` is off.
*/}}
{{- define "redis.probes" -}}
{{- $cli := printf "--no-auth-warning, -p, %q, --user, probe, --pass, none, ping" (toString .port) -}}
startupProbe:
  exec:
    command: [redis-cli, -e, {{ $cli }}]
  periodSeconds: 2
  timeoutSeconds: 3
  # Loading a large append-only file takes its time, and so does the last master, which replicas wait for.
  failureThreshold: 150
# Answered by anything, be it -LOADING: only a server that hangs is restarted.
livenessProbe:
  exec:
    command: [redis-cli, {{ $cli }}]
  # Each probe starts a process in the container, which takes more CPU than an idle Redis.
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 2
readinessProbe:
  exec:
    command: {{ .ready | default (printf "[redis-cli, -e, %s]" $cli) }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{/* Not below /etc/redis: Debian's package gives that directory to its own user only. */}}
{{- define "redis.mounts" -}}
volumeMounts:
  - name: config
    mountPath: /config
    readOnly: true
  - name: acl
    mountPath: /acl
    readOnly: true
  - name: data
    mountPath: /data
{{- end }}

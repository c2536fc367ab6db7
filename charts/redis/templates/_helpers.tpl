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
{{- end }}

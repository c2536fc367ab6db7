{{/* Selectors are immutable: only what identifies the release, never a version. */}}
{{- define "livekit-server.selectorLabels" -}}
app.kubernetes.io/name: livekit-server
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of pods: no version either, or a release of the chart alone would restart them. */}}
{{- define "livekit-server.podLabels" -}}
{{ include "livekit-server.selectorLabels" . }}
app.kubernetes.io/component: sfu
app.kubernetes.io/part-of: livekit-platform
{{- end }}

{{/* A map as `key=value` words, in the order of its keys. */}}
{{- define "livekit-server.pairs" -}}
{{- $pairs := list }}
{{- range $key, $value := . }}
{{- $pairs = append $pairs (printf "%s=%s" $key $value) }}
{{- end }}
{{- join " " $pairs }}
{{- end }}

{{- define "livekit-server.labels" -}}
{{ include "livekit-server.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

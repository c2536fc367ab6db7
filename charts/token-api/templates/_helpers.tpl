{{/* Selectors are immutable: only what identifies the release, never a version. */}}
{{- define "token-api.selectorLabels" -}}
app.kubernetes.io/name: token-api
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of pods: no version either, or a release of the chart alone would restart them. */}}
{{- define "token-api.podLabels" -}}
{{ include "token-api.selectorLabels" . }}
app.kubernetes.io/component: api
app.kubernetes.io/part-of: livekit-platform
{{- end }}

{{- define "token-api.labels" -}}
{{ include "token-api.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/*
IPv4 networks that are nobody's on the internet (RFC 6890 and its registry), and what clouds answer a pod at:
metadata servers are link-local but for one.
*/}}
{{- define "token-api.notPublic" -}}
- 0.0.0.0/8
- 10.0.0.0/8
- 100.64.0.0/10
- 127.0.0.0/8
- 168.63.129.16/32
- 169.254.0.0/16
- 172.16.0.0/12
- 192.0.0.0/24
- 192.0.2.0/24
- 192.88.99.0/24
- 192.168.0.0/16
- 198.18.0.0/15
- 198.51.100.0/24
- 203.0.113.0/24
- 224.0.0.0/4
- 240.0.0.0/4
{{- end }}

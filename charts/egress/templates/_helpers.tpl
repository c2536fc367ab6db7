{{/* Selectors are immutable: only what identifies the release, never a version. */}}
{{- define "egress.selectorLabels" -}}
app.kubernetes.io/name: egress
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of pods: no version either, or a release of the chart alone would restart them. */}}
{{- define "egress.podLabels" -}}
{{ include "egress.selectorLabels" . }}
app.kubernetes.io/component: egress
app.kubernetes.io/part-of: livekit-platform
{{- end }}

{{- define "egress.labels" -}}
{{ include "egress.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The worker's cores as a number: "4500m" is 4.5. */}}
{{- define "egress.cores" -}}
{{- $cpu := .Values.resources.requests.cpu -}}
{{- if hasSuffix "m" $cpu }}{{ divf (trimSuffix "m" $cpu | float64) 1000 }}{{ else }}{{ $cpu }}{{ end }}
{{- end }}

{{/*
IPv4 networks that are not routed on the internet (RFC 6890 and its registry), and addresses of cloud metadata services:
metadata servers are link-local but for one.
*/}}
{{- define "egress.notPublic" -}}
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

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

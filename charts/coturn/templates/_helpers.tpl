{{/* Selectors are immutable: only what identifies the release, never a version. */}}
{{- define "coturn.selectorLabels" -}}
app.kubernetes.io/name: coturn
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of pods: no version either, or a release of the chart alone would restart them. */}}
{{- define "coturn.podLabels" -}}
{{ include "coturn.selectorLabels" . }}
app.kubernetes.io/component: turn
app.kubernetes.io/part-of: livekit-platform
{{- end }}

{{- define "coturn.labels" -}}
{{ include "coturn.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Selectors are immutable: only what identifies the release, never a version. */}}
{{- define "edge.selectorLabels" -}}
app.kubernetes.io/name: edge
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of pods: no version either, or a release of the chart alone would restart them. */}}
{{- define "edge.podLabels" -}}
{{ include "edge.selectorLabels" . }}
app.kubernetes.io/component: edge
app.kubernetes.io/part-of: livekit-platform
{{- end }}

{{- define "edge.labels" -}}
{{ include "edge.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Of HAProxy's master process, on the pod's loopback. */}}
{{- define "edge.masterPort" -}}
9901
{{- end }}

{{- define "edge.scripts.env" -}}
- name: MASTER_PORT
  value: {{ include "edge.masterPort" . | quote }}
- name: SERVICE_NAMES
  value: {{ list .Values.upstreams.api.host .Values.upstreams.s3.host | compact | join " " | quote }}
{{- end }}

{{- define "edge.mounts" -}}
- name: config
  mountPath: /config
  readOnly: true
- name: scripts
  mountPath: /scripts
  readOnly: true
- name: tls
  mountPath: /tls
  readOnly: true
- name: state
  mountPath: /state
{{- end }}

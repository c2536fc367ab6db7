{{/* The service's environment: what is no secret as it stands, all else from Secrets. */}}
{{- define "token-api.env" -}}
- name: LIVEKIT_URL
  value: {{ .Values.livekit.url | quote }}
{{- with .Values.livekit.publicUrl }}
- name: LIVEKIT_PUBLIC_URL
  value: {{ . | quote }}
{{- end }}
- name: TOKEN_API_EGRESS_KIND
  value: {{ .Values.egressKind }}
{{- $own := list "LIVEKIT_API_KEY" "LIVEKIT_API_SECRET" "TOKEN_API_SERVICE_KEY" }}
{{- if .Values.livekit.previousKey }}
{{- $own = concat $own (list "LIVEKIT_API_KEY_PREVIOUS" "LIVEKIT_API_SECRET_PREVIOUS") }}
{{- end }}
{{- if .Values.previousServiceKey }}
{{- $own = append $own "TOKEN_API_SERVICE_KEY_PREVIOUS" }}
{{- end }}
{{- if eq .Values.hostAuth.kind "secret" }}
{{- $own = append $own "TOKEN_API_HOST_JWT_SECRET" }}
{{- if .Values.hostAuth.previousSecret }}
{{- $own = append $own "TOKEN_API_HOST_JWT_SECRET_PREVIOUS" }}
{{- end }}
{{- end }}
{{- range $own }}
{{ include "token-api.fromSecret" (list . $.Values.secretName .) }}
{{- end }}
{{- if eq .Values.database.kind "embedded" }}
- name: TOKEN_API_DATA_DIR
  value: {{ include "token-api.dataDirectory" . }}
# What SQLite cannot hold in memory: no other directory may be written to.
- name: SQLITE_TMPDIR
  value: {{ include "token-api.dataDirectory" . }}
{{- else }}
{{ include "token-api.fromSecret" (list "TOKEN_API_DATABASE_URL" .Values.database.secretName "url") }}
{{- end }}
{{- if ne .Values.hostAuth.kind "none" }}
- name: TOKEN_API_HOST_JWT_ISSUER
  value: {{ .Values.hostAuth.issuer | quote }}
- name: TOKEN_API_HOST_JWT_AUDIENCE
  value: {{ .Values.hostAuth.audience | quote }}
{{- end }}
{{- if eq .Values.hostAuth.kind "jwks" }}
- name: TOKEN_API_HOST_JWKS_URL
  value: {{ .Values.hostAuth.jwksUrl | quote }}
{{- end }}
- name: TOKEN_API_CHAT_PROVIDER
  value: {{ .Values.chat.provider }}
{{- if eq .Values.chat.provider "getstream" }}
{{ include "token-api.fromSecret" (list "TOKEN_API_GETSTREAM_KEY" .Values.chat.secretName "key") }}
{{ include "token-api.fromSecret" (list "TOKEN_API_GETSTREAM_SECRET" .Values.chat.secretName "secret") }}
{{- end }}
{{- with .Values.recordings }}
{{- if .secretName }}
- name: TOKEN_API_S3_ENDPOINT
  value: {{ .endpoint | quote }}
{{- with .innerEndpoint }}
- name: TOKEN_API_S3_INNER_ENDPOINT
  value: {{ . | quote }}
{{- end }}
- name: TOKEN_API_S3_BUCKET
  value: {{ .bucket | quote }}
- name: TOKEN_API_S3_REGION
  value: {{ .region | quote }}
- name: TOKEN_API_RECORDINGS_RETENTION_DAYS
  value: {{ .retentionDays | quote }}
{{ include "token-api.fromSecret" (list "TOKEN_API_S3_ACCESS_KEY" .secretName "access_key_id") }}
{{ include "token-api.fromSecret" (list "TOKEN_API_S3_SECRET_KEY" .secretName "secret_access_key") }}
{{- end }}
{{- end }}
{{- with .Values.corsOrigins }}
- name: TOKEN_API_CORS_ORIGINS
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.networkPolicy.webhookCidrs }}
- name: TOKEN_API_WEBHOOK_ALLOW
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.trustedProxies }}
- name: TOKEN_API_TRUSTED_PROXIES
  value: {{ join "," . | quote }}
{{- end }}
- name: TOKEN_API_CREATOR_GRACE_SECONDS
  value: {{ .Values.creatorGraceSeconds | quote }}
- name: TOKEN_API_LISTEN_PORT
  value: {{ .Values.port | quote }}
- name: TOKEN_API_LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: TOKEN_API_DRAIN_SECONDS
  value: {{ .Values.shutdown.drainSeconds | quote }}
- name: TOKEN_API_SHUTDOWN_SECONDS
  value: {{ .Values.shutdown.requestSeconds | quote }}
- name: TOKEN_API_WORKER_SECONDS
  value: {{ .Values.shutdown.workerSeconds | quote }}
{{- end }}

{{/* The variable, the Secret and its key. */}}
{{- define "token-api.fromSecret" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
{{- end }}

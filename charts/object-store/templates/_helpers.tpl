{{/* Selectors are immutable: only what identifies the release, never a version. */}}
{{- define "object-store.selectorLabels" -}}
app.kubernetes.io/name: object-store
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The setup Job's pods are no part of the Service, and have a policy of their own. */}}
{{- define "object-store.setupSelectorLabels" -}}
app.kubernetes.io/name: object-store-setup
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of pods: no version either, or a release of the chart alone would restart them. */}}
{{- define "object-store.podLabels" -}}
{{ include "object-store.selectorLabels" . }}
app.kubernetes.io/component: state
app.kubernetes.io/part-of: livekit-platform
{{- end }}

{{- define "object-store.setupPodLabels" -}}
{{ include "object-store.setupSelectorLabels" . }}
app.kubernetes.io/component: state
app.kubernetes.io/part-of: livekit-platform
{{- end }}

{{- define "object-store.labels" -}}
{{ include "object-store.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "object-store.setupName" -}}
{{ .Release.Name }}-setup
{{- end }}

{{/* What both kinds of pod have in common. */}}
{{- define "object-store.podSpec" -}}
enableServiceLinks: false
automountServiceAccountToken: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "object-store.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end }}

{{/* Readable by the pod's group only. */}}
{{- define "object-store.accountsVolume" -}}
name: accounts
secret:
  secretName: {{ .Values.gateway.accountsSecret }}
  defaultMode: 0440
  items:
    - key: users.json
      path: users.json
{{- end }}

{{/* The account whose variables are called `prefix`..., from the Secret `name`. */}}
{{- define "object-store.keyVariables" -}}
- name: {{ .prefix }}ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: access_key_id
- name: {{ .prefix }}SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: secret_access_key
{{- end }}

{{- define "object-store.job" -}}
backoffLimit: 1
activeDeadlineSeconds: 580
podFailurePolicy:
  rules:
    # The store refused, or the environment is wrong: a second attempt would say the same.
    - action: FailJob
      onExitCodes:
        containerName: setup
        operator: In
        values: [77, 78]
template:
  metadata:
    labels:
      {{- include "object-store.setupPodLabels" . | nindent 6 }}
    annotations:
      checksum/secrets: {{ .Values.gateway.secretsChecksum | quote }}
  spec:
    restartPolicy: Never
    serviceAccountName: {{ include "object-store.setupName" . }}
    terminationGracePeriodSeconds: 5
    {{- include "object-store.podSpec" . | nindent 4 }}
    containers:
      - name: setup
        image: {{ .Values.setup.image }}
        imagePullPolicy: IfNotPresent
        args:
          - {{ eq .Values.kind "embedded" | ternary "ensure-bucket" "preflight" }}
        env:
          - name: OBJECT_STORE_BUCKET
            value: {{ .Values.bucket }}
          - name: OBJECT_STORE_REGION
            value: {{ .Values.region }}
          - name: OBJECT_STORE_PATIENCE_SECONDS
            value: {{ .Values.setup.patienceSeconds | quote }}
          {{- if eq .Values.kind "embedded" }}
          {{- $host := printf "http://%s.%s.svc" .Release.Name .Release.Namespace }}
          - name: OBJECT_STORE_ENDPOINT
            value: {{ $host }}:{{ .Values.gateway.port }}
          - name: OBJECT_STORE_ADMIN_ENDPOINT
            value: {{ $host }}:{{ .Values.gateway.adminPort }}
          - name: OBJECT_STORE_PATH_STYLE
            value: "true"
          - name: OBJECT_STORE_ALLOWED_ORIGINS
            value: {{ join "," .Values.gateway.allowedOrigins }}
          - name: OBJECT_STORE_ACCOUNTS_FILE
            value: /accounts/users.json
          {{- include "object-store.keyVariables" (dict "prefix" "OBJECT_STORE_ROOT_" "name" .Values.gateway.rootSecret) | nindent 10 }}
          {{- else }}
          - name: OBJECT_STORE_ENDPOINT
            value: {{ .Values.external.endpoint }}
          - name: OBJECT_STORE_PATH_STYLE
            value: {{ .Values.external.pathStyle | quote }}
          {{- with .Values.external.secretName }}
          {{- include "object-store.keyVariables" (dict "prefix" "AWS_" "name" .) | nindent 10 }}
          {{- end }}
          {{- end }}
        # What it writes there is the reason that `pulumi up` shows.
        terminationMessagePath: /dev/termination-log
        terminationMessagePolicy: File
        resources:
          {{- toYaml .Values.setup.resources | nindent 10 }}
        securityContext:
          {{- include "object-store.securityContext" . | nindent 10 }}
        {{- if eq .Values.kind "embedded" }}
        volumeMounts:
          - name: accounts
            mountPath: /accounts
            readOnly: true
        {{- end }}
    {{- if eq .Values.kind "embedded" }}
    volumes:
      - {{- include "object-store.accountsVolume" . | nindent 8 }}
    {{- end }}
{{- end }}

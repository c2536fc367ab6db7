{{/* The pod of either kind: a Deployment's beside a database of somebody else's, or the one with the volume. */}}
{{- define "token-api.pod" -}}
{{- $embedded := eq .Values.database.kind "embedded" -}}
metadata:
  labels:
    {{- include "token-api.podLabels" . | nindent 4 }}
  annotations:
    checksum/secret: {{ .Values.secretChecksum | quote }}
spec:
  # The variables of a Service called token-api (TOKEN_API_PORT=tcp://...) look like settings.
  enableServiceLinks: false
  serviceAccountName: {{ .Release.Name }}
  automountServiceAccountToken: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  # SIGTERM comes while nodes and the edge still send requests here: the service says by /readyz that it stops, and
  # serves on for the drain. Then come the phases of its end, and a few seconds for the interpreter.
  {{- with .Values.shutdown }}
  terminationGracePeriodSeconds: {{ add .drainSeconds .requestSeconds .workerSeconds 5 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    # Volumes are the group's.
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- if not $embedded }}
  topologySpreadConstraints:
    {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ $key }}
      maxSkew: 1
      # Two replicas on one node are better than one replica.
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "token-api.selectorLabels" $ | nindent 10 }}
      # Without it, the replicas that a rollout replaces would count as places taken.
      matchLabelKeys:
        - pod-template-hash
    {{- end }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: token-api
      image: {{ .Values.image }}
      imagePullPolicy: IfNotPresent
      # It migrates the database first, one replica at a time.
      command:
        - python3
        - -m
        - token_api
        - serve
      env:
        {{- include "token-api.env" . | nindent 8 }}
      ports:
        - name: http
          containerPort: {{ .Values.port }}
          protocol: TCP
      # The process answers /healthz whatever LiveKit and the database do: an outage there is no reason to
      # restart. It listens once the database is migrated, or another replica is done with it: who is killed
      # in the middle begins again.
      startupProbe:
        httpGet:
          path: /healthz
          port: http
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 150
      livenessProbe:
        httpGet:
          path: /healthz
          port: http
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      # It asks whom the service cannot work without, for at most two seconds.
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
        periodSeconds: 5
        timeoutSeconds: 4
        failureThreshold: 2
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop:
            - ALL
      volumeMounts:
        {{- if $embedded }}
        - name: data
          mountPath: {{ include "token-api.dataDirectory" . }}
        {{- else }}
        - name: database
          mountPath: /database
          readOnly: true
        {{- end }}
  {{- if not $embedded }}
  volumes:
    # For a URL with sslrootcert=/database/ca.crt. Without the key the directory is empty.
    - name: database
      secret:
        secretName: {{ .Values.database.secretName }}
        defaultMode: 0440
        optional: true
        items:
          - key: ca.crt
            path: ca.crt
  {{- end }}
{{- end }}

{{- define "token-api.dataDirectory" -}}
/var/lib/token-api
{{- end }}

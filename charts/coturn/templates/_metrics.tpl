{{/*
What the server reports, kept by a Redis of the pod's own and served as metrics. Both are sidecars by Kubernetes' own
means (init containers that go on): they are there before the server, and until it has drained. They have no readiness
probe, for clients do not need them.
*/}}
{{- define "coturn.metrics" -}}
- name: reports
  image: {{ .Values.reports.image }}
  imagePullPolicy: IfNotPresent
  restartPolicy: Always
  command:
    - redis-server
    - /scripts/redis.conf
    - --port
    - {{ .Values.ports.reports | quote }}
  # The server connects once; it must be there by then. It is never restarted for a probe: see files/redis.conf.
  startupProbe:
    exec:
      command:
        - redis-cli
        - -p
        - {{ .Values.ports.reports | quote }}
        - ping
    periodSeconds: 1
    timeoutSeconds: 5
    failureThreshold: 60
  resources:
    requests:
      cpu: 10m
      memory: 16Mi
    limits:
      memory: 64Mi
  {{- include "coturn.containerSecurity" . | nindent 2 }}
  volumeMounts:
    - name: scripts
      mountPath: /scripts
      readOnly: true
    - name: reports
      mountPath: /run/reports
- name: exporter
  image: {{ .Values.metrics.image }}
  imagePullPolicy: IfNotPresent
  restartPolicy: Always
  env:
    - name: TURN_ADDRESS
      valueFrom:
        fieldRef:
          fieldPath: status.podIP
    - name: TURN_PORT
      value: {{ .Values.ports.turn | quote }}
    - name: METRICS_PORT
      value: {{ .Values.ports.metrics | quote }}
    - name: REPORTS_SOCKET
      value: /run/reports/redis.sock
    - name: DRAINING_FILE
      value: /run/reports/draining
    - name: ALLOCATIONS_LIMIT
      value: {{ sub (add .Values.ports.turnRelay.last 1) .Values.ports.turnRelay.first | quote }}
  ports:
    - name: turn-metrics
      containerPort: {{ .Values.ports.metrics }}
      protocol: TCP
  # No startup probe: the server would wait for it.
  livenessProbe:
    tcpSocket:
      port: turn-metrics
    initialDelaySeconds: 30
    periodSeconds: 30
    timeoutSeconds: 5
    failureThreshold: 4
  resources:
    requests:
      cpu: 10m
      memory: 48Mi
    limits:
      memory: 128Mi
  {{- include "coturn.containerSecurity" . | nindent 2 }}
  volumeMounts:
    - name: reports
      mountPath: /run/reports
      readOnly: true
{{- end }}

{{- define "coturn.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop:
      - ALL
{{- end }}

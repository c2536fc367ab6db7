{{/* The pod of either kind: livekit/egress with temporary storage, or the recorder with a volume. */}}
{{- define "egress.pod" -}}
{{- $livekit := eq .Values.kind "livekit" -}}
metadata:
  labels:
    {{- include "egress.podLabels" . | nindent 4 }}
  annotations:
    checksum/config: {{ .Values.configChecksum | quote }}
    # An autoscaler that removes the node would cut recordings at its own limit.
    cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
spec:
  enableServiceLinks: false
  serviceAccountName: {{ .Release.Name }}
  # The identity of a cloud provider uses a separate token, which the provider mounts.
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ .Values.terminationGraceSeconds }}
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
    # By number: livekit/egress' image names its user, and the kubelet cannot see from a name that it is not root.
    {{- $user := ternary 1001 65532 $livekit }}
    runAsUser: {{ $user }}
    runAsGroup: {{ $user }}
    # The configuration and the volume are the group's.
    fsGroup: {{ $user }}
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- with .Values.avoidPodLabels }}
  affinity:
    podAntiAffinity:
      # A wish: encoders take every core that is free.
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- toYaml . | nindent 16 }}
  {{- end }}
  topologySpreadConstraints:
    {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ $key }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "egress.selectorLabels" $ | nindent 10 }}
    {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ ternary "egress" "recorder" $livekit }}
      image: {{ .Values.image }}
      imagePullPolicy: IfNotPresent
      {{- if not $livekit }}
      command:
        - python3
        - -m
        - recorder
      {{- end }}
      env:
        - name: EGRESS_CONFIG_FILE
          value: /config/{{ .Values.configSecret.key }}
        # There is no CPU limit: throttling shows in recordings. Without this, both workers would count the cores of
        # the whole node as their own (livekit/protocol, utils/hwstats).
        - name: LIVEKIT_CPU_REQUEST
          value: {{ .Values.cores | default (include "egress.cores" .) | quote }}
        {{- if $livekit }}
        - name: FINISH_AFTER_SECONDS
          value: {{ sub .Values.terminationGraceSeconds .Values.finishSeconds | quote }}
        {{- end }}
        {{- with .Values.storeKeySecret }}
        # Where the configuration has no key, workers take the one of the AWS SDKs' variables.
        - name: AWS_ACCESS_KEY_ID
          valueFrom:
            secretKeyRef:
              name: {{ . }}
              key: access_key_id
        - name: AWS_SECRET_ACCESS_KEY
          valueFrom:
            secretKeyRef:
              name: {{ . }}
              key: secret_access_key
        {{- end }}
      ports:
        - name: health
          containerPort: {{ .Values.ports.health }}
          protocol: TCP
        - name: metrics
          containerPort: {{ .Values.ports.metrics }}
          protocol: TCP
      # The port answers 200 as long as the process lives, also while Redis is away and while the worker stops, for
      # recordings go on then. No traffic is routed by readiness: workers take their requests from Redis.
      startupProbe:
        httpGet:
          path: /
          port: health
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet:
          path: /
          port: health
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /
          port: health
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      {{- if $livekit }}
      lifecycle:
        preStop:
          exec:
            command:
              - bash
              - /scripts/stop.sh
              - "1"
      {{- end }}
      resources:
        requests:
          {{- toYaml .Values.resources.requests | nindent 10 }}
          {{- if $livekit }}
          # So that it starts only where the temporary storage fits.
          ephemeral-storage: {{ .Values.temporaryStorage }}
          {{- end }}
        limits:
          {{- toYaml .Values.resources.limits | nindent 10 }}
      securityContext:
        allowPrivilegeEscalation: false
        # livekit/egress' PulseAudio, X server and Chrome write into several directories of the image. PulseAudio
        # wants one of them to belong to its user, and a mounted volume belongs to root.
        readOnlyRootFilesystem: {{ not $livekit }}
        capabilities:
          drop:
            - ALL
      volumeMounts:
        - name: config
          mountPath: /config
          readOnly: true
        {{- if $livekit }}
        - name: scripts
          mountPath: /scripts
          readOnly: true
        - name: recordings
          mountPath: /home/egress/tmp
        {{- else }}
        # A subdirectory, because a new volume may have a lost+found directory at its top.
        - name: spool
          mountPath: /var/spool/recorder
          subPath: recordings
        {{- end }}
  volumes:
    - name: config
      secret:
        secretName: {{ .Values.configSecret.name }}
        # Readable by the pod's group only.
        defaultMode: 0440
        items:
          - key: {{ .Values.configSecret.key }}
            path: {{ .Values.configSecret.key }}
    {{- if $livekit }}
    - name: scripts
      configMap:
        name: {{ .Release.Name }}
    - name: recordings
      emptyDir:
        sizeLimit: {{ .Values.temporaryStorage }}
    {{- end }}
{{- end }}

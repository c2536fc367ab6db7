{{/*
How many workers are wanted, in PromQL: those that are busy, and the headroom.

A worker is busy if it could not accept one more recording of the largest kind. That is what
livekit_egress_can_accept_request says (livekit/egress v1.14, pkg/stats/monitor_prom.go: it tries a web page, which
takes as much as a room). livekit_egress_requests counts what runs: by it, a worker with one small request would be
busy, although it accepts a room. livekit_egress_available is 1 for an idle worker and falls with load, so a target for
it would add workers when there is nothing to do.

A worker that stops is no longer one of the replicas, and is not counted. The second part gives 0 where all workers are
free, and nothing where no worker is scraped: then the number of workers stays as it is.
*/}}
{{- define "egress.wantedWorkers" -}}
{{- $of := printf "{namespace=%q}" .Release.Namespace -}}
{{- $accepts := printf "livekit_egress_can_accept_request%s" $of -}}
{{- $stops := printf "livekit_egress_is_terminating%s" $of -}}
(count({{ $accepts }} == 0 unless {{ $stops }} == 1) or 0 * count({{ $accepts }})) + {{ .Values.autoscaling.headroom }}
{{- end }}

{{- define "egress.scaleTarget" -}}
apiVersion: apps/v1
kind: {{ ternary "Deployment" "StatefulSet" (eq .Values.kind "livekit") }}
name: {{ .Release.Name }}
{{- end }}

{{/* Workers come as fast as Kubernetes allows, and go one by one after a quiet time. */}}
{{- define "egress.scalingBehavior" -}}
scaleDown:
  stabilizationWindowSeconds: 600
  policies:
    - type: Pods
      value: 1
      periodSeconds: 60
{{- end }}

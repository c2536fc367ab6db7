{{/*
How many allocations one client address may have, counted by the kernel in the pod's own network, for coturn counts by
user only and each join is another user. Clients reach the pod with their own addresses: by the nodes' ports. TURN over
TLS that comes by the edge is counted there.

- udp_clients: a flow is an allocation. It counts until it has been silent for forgottenSeconds: UDP has no end.
- tcp_clients: a connection has at most one allocation. It counts until it ends. A client that vanishes does not end it,
  so it ends with the lifetime of the allocation.
*/}}
{{- define "coturn.limits.nft" -}}
{{- $tcp := ternary (list .Values.ports.turn) (list .Values.ports.turn .Values.ports.turnTls) (not (empty .Values.turnTlsClients)) -}}
# Loaded as a whole: a container that starts again replaces what it left.
table inet turn_limits
delete table inet turn_limits
table inet turn_limits {
  ct timeout udp_flow {
    protocol udp
    l3proto ip
    policy = { unreplied : {{ .Values.limits.forgottenSeconds }}, replied : {{ .Values.limits.forgottenSeconds }} }
  }
  ct timeout tcp_connection {
    protocol tcp
    l3proto ip
    policy = { established : {{ add .Values.limits.lifetimeSeconds 60 }} }
  }
  set udp_clients {
    type ipv4_addr
    size 65535
    flags dynamic
  }
  set tcp_clients {
    type ipv4_addr
    size 65535
    flags dynamic
  }
  chain input {
    type filter hook input priority filter; policy accept;
    # The exporter, which asks coturn in the same pod.
    iif "lo" accept
    udp dport {{ .Values.ports.turn }} ct state new ct timeout set "udp_flow"
    tcp dport { {{ join ", " $tcp }} } ct state new ct timeout set "tcp_connection"
    udp dport {{ .Values.ports.turn }} ct state new add @udp_clients { ip saddr ct count over {{ .Values.limits.perAddress }} } counter drop
    tcp dport { {{ join ", " $tcp }} } ct state new add @tcp_clients { ip saddr ct count over {{ .Values.limits.perAddress }} } counter drop
  }
}
{{- end }}

{{/* Sets the limits before coturn starts, and ends. */}}
{{- define "coturn.limits" -}}
- name: limits
  image: {{ .Values.limits.image }}
  imagePullPolicy: IfNotPresent
  command:
    - nft
    - --file
    - /scripts/limits.nft
  resources:
    requests:
      cpu: 10m
      memory: 16Mi
    limits:
      memory: 64Mi
  securityContext:
    # To change the rules of the pod's network. A capability is given to root only; nothing else runs with it.
    runAsNonRoot: false
    runAsUser: 0
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop:
        - ALL
      add:
        - NET_ADMIN
  volumeMounts:
    - name: scripts
      mountPath: /scripts
      readOnly: true
{{- end }}

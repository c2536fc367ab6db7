{{/*
HAProxy's configuration. Everything in it is known at preview, and nothing in it is secret. FILES and CLUSTER_DOMAIN are
environment variables: run.sh and watch.sh set them.

  8443 tls ── SNI turn. ──> turn_servers, or turn_tls where TLS ends here
              all else  ──> https (TLS ends) ─┐
  8080 http ─ redirect, or for localhost ─────┴─> sfu, api, s3
*/}}
{{- define "edge.haproxy.cfg" -}}
{{- $turn := ne .Values.upstreams.turn.host "" -}}
global
    log stdout format raw local0 info
    # The deadline of the connections that a reloaded worker has; run.sh has a shorter one for a pod that stops.
    hard-stop-after {{ .Values.reloadDrainSeconds }}s
    # Many reloads in a row would fill the memory with old workers: the oldest goes first.
    mworker-max-reloads 8
    nbthread {{ .Values.threads }}
    maxconn {{ .Values.maxConnections }}
    # A request's line and headers must fit; LiveKit's tokens stand in the line.
    tune.bufsize 32768
    tune.http.maxhdr 101
    # One file contains certificate, chain and key.
    ssl-load-extra-files none
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256
    ssl-default-bind-curves X25519:P-256:P-384
    # Browsers would send WebSockets over the one HTTP/2 connection, where a large download holds them up.
    h2-workaround-bogus-websocket-clients

# Where pods are, by the cluster's DNS: asked each second. A pod that is told to stop is gone from it at once,
# while it still answers health checks: nobody new is sent there, and its connections go on.
resolvers cluster
    parse-resolv-conf
    accepted_payload_size 8192
    timeout resolve 1s
    timeout retry 1s
    hold valid 1s
    hold obsolete 2s
    # With no answer, or none that names a pod, the last known ones are better than none: the checks decide.
    hold nx 24h
    hold other 24h
    hold refused 24h
    hold timeout 24h

defaults
    log global
    mode http
    # Connections without a request are health checks and browsers' reserves.
    option dontlognull
    option redispatch
    retries 2
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    # A request's headers as a whole: who sends them byte by byte is cut off.
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout queue 10s
    timeout client-fin 30s
    # WebSockets and TURN: LiveKit sends pings, TURN refreshes; what is silent for an hour is dead.
    timeout tunnel 1h

# Who did how much, by client address.
backend connections_of
    stick-table type ipv6 size 100k expire 60s store conn_cur
{{- if .Values.upstreams.turn.connectionsPerAddress }}

backend turn_connections_of
    stick-table type ipv6 size 100k expire 60s store conn_cur
{{- end }}

backend requests_of
    stick-table type ipv6 size 100k expire 60s store http_req_rate(10s)

# By the SHA-1 of the identity.
backend joins_of
    stick-table type binary len 20 size 100k expire 120s store gpc0,gpc0_rate(60s)

frontend metrics
    bind *:{{ .Values.ports.metrics }}
    no log
    monitor-uri /healthz
    http-request use-service prometheus-exporter if { path /metrics }
    http-request return status 404

frontend tls
    mode tcp
    bind *:{{ .Values.ports.https }}
    option clitcpka
    {{- include "edge.limitConnections" . | nindent 4 }}
    log-format {{ include "edge.log.tcp" . }}
    # The name that is asked for stands in the first message; who sends none is no TLS client.
    tcp-request inspect-delay 5s
    acl hello req.ssl_hello_type 1
    {{- if $turn }}
    acl to_turn req.ssl_sni -i turn.{{ .Values.domain }}
    {{- with .Values.upstreams.turn.connectionsPerAddress }}
    # A connection has at most one relay.
    tcp-request content track-sc1 src table turn_connections_of if to_turn
    tcp-request content reject if to_turn { sc_conn_cur(1,turn_connections_of) gt {{ . }} }
    {{- end }}
    {{- end }}
    # What goes on to a frontend that logs for itself.
    tcp-request content set-log-level silent if hello{{ if and $turn (not .Values.upstreams.turn.terminateTls) }} !to_turn{{ end }}
    tcp-request content accept if hello
    tcp-request content reject
    {{- if $turn }}
    use_backend {{ ternary "turn_tls" "turn_servers" .Values.upstreams.turn.terminateTls }} if to_turn
    {{- end }}
    default_backend https

# To the frontend of the same name, which logs requests. The client's address goes along.
backend https
    mode tcp
    server https abns@edge-https send-proxy-v2
{{- if and $turn .Values.upstreams.turn.terminateTls }}

backend turn_tls
    mode tcp
    server turn_tls abns@edge-turn send-proxy-v2

frontend turn_tls
    mode tcp
    bind abns@edge-turn accept-proxy ssl crt "${FILES}/tls.pem"
    log-format {{ include "edge.log.tcp" . }}
    error-log-format {{ include "edge.log.error" . }}
    default_backend turn_servers
{{- end }}
{{- if $turn }}

backend turn_servers
    mode tcp
    balance leastconn
    option srvtcpka
    default-server check inter 3s fall 2 rise 2
    {{- include "edge.servers" (dict "name" "turn" "upstream" .Values.upstreams.turn) | nindent 4 }}
{{- end }}

frontend https
    bind abns@edge-https accept-proxy ssl crt "${FILES}/tls.pem" alpn h2,http/1.1
    {{- include "edge.requests" (dict "values" .Values "secure" true) | nindent 4 }}

frontend http
    bind *:{{ .Values.ports.http }}
    {{- include "edge.limitConnections" . | nindent 4 }}
    {{- include "edge.requests" (dict "values" .Values "secure" false) | nindent 4 }}

backend sfu
    balance leastconn
    # 200, or 406 while Redis is away: then nobody new is sent there, and who is there stays.
    option httpchk
    http-check send meth GET uri / ver HTTP/1.1 hdr Host edge
    http-check expect status 200
    default-server check inter 3s fall 2 rise 2
    # Only what clients use, by exact path. LiveKit also serves WHIP, whose requests create rooms that no join may
    # create, and start work in the SFU that no client can stop.
    acl to_rtc path /rtc /rtc/v1
    acl to_validate path /rtc/validate /rtc/v1/validate
    acl to_agent path /agent
    acl to_root path /
    acl to_api_of_livekit path_reg ^/twirp/[A-Za-z.]+/[A-Za-z]+$
    http-request return status 404 content-type text/plain string "Not found" if !to_rtc !to_validate !to_agent !to_root !to_api_of_livekit
    # With `publish`, LiveKit appends this value to the identity. The identity would not be the one that the edge counts
    # and that token-api knows. No SDK sends it.
    http-request return status 403 content-type text/plain string "The parameter publish is not supported" if { query,url_dec -m reg (^|&)publish= }
    # Joins are counted by the identity in the token. The edge passes this token on in the header, where LiveKit looks
    # first: the two parse some queries differently, and the edge would then count for another identity. LiveKit
    # verifies the token, and only joins that it admits are counted, so a forged token uses up nobody's joins.
    http-request set-var(txn.token) url_param(access_token),url_dec
    http-request set-var(txn.token) req.fhdr(Authorization,1),word(2,' ') if { req.fhdr(Authorization,1) -m found }
    # A long token does not fit into the buffer twice, so it is removed from the query.
    http-request set-query "%[query,regsub('access_token=[^&]*','',g)]" if { var(txn.token) -m found }
    http-request set-header Authorization "Bearer %[var(txn.token)]" if { var(txn.token) -m found }
    http-request set-var(txn.identity) var(txn.token),jwt_payload_query('$.sub'),sha1
    http-request set-var(txn.agent) bool(true) if to_agent
    http-request return status 429 content-type text/plain string "Too many joins" hdr Retry-After 60 if !to_api_of_livekit !to_validate { var(txn.identity),table_gpc0_rate(joins_of) ge {{ .Values.rateLimit.joinsPer60s }} }
    acl admitted status 101
    acl identified var(txn.identity) -m found
    # LiveKit's agents have no identity and use no relays.
    acl agent var(txn.agent) -m bool
    http-response deny if admitted !identified !agent
    http-response track-sc2 var(txn.identity) table joins_of if admitted !agent
    http-response sc-inc-gpc0(2) if admitted !agent
    {{- include "edge.servers" (dict "name" "sfu" "upstream" .Values.upstreams.sfu) | nindent 4 }}

backend api
    # For those who scrape inside the cluster.
    http-request return status 404 if { path,url_dec /metrics }
    # For LiveKit, which calls the service itself: signed, but nothing outside has a reason to try.
    http-request return status 404 if { path,url_dec -m beg /v1/webhooks/ }
    # Looked up at the start and at each reload; the watcher sees a change.
    server api {{ .Values.upstreams.api.host }}:{{ .Values.upstreams.api.port }} init-addr libc,none
{{- if .Values.upstreams.s3.host }}

backend s3
    # Completing a large upload takes the store minutes in which it says nothing.
    timeout server 10m
    server s3 {{ .Values.upstreams.s3.host }}:{{ .Values.upstreams.s3.port }} init-addr libc,none
{{- end }}
{{- end }}

{{/*
One slot for each node's address: no more pods can be there. Its search list completes no name for HAProxy, so
run.sh and watch.sh say what the cluster's domain is.
*/}}
{{- define "edge.servers" -}}
server-template {{ .name }}- {{ len .upstream.addresses }} "{{ .upstream.host }}.${CLUSTER_DOMAIN}:{{ .upstream.port }}" resolvers cluster resolve-prefer ipv4 init-addr none
{{- end }}

{{- define "edge.limitConnections" -}}
tcp-request connection track-sc0 src table connections_of
tcp-request connection reject if { sc_conn_cur(0,connections_of) gt {{ .Values.rateLimit.connections }} }
{{- end }}

{{/* What both HTTP frontends do with a request: limits, who is asked, headers, and where it goes. */}}
{{- define "edge.requests" -}}
{{- $values := .values -}}
{{- $domain := $values.domain -}}
{{- $s3 := ne $values.upstreams.s3.host "" -}}
{{- $plain := and (not .secure) $values.plainLocalhost -}}
option clitcpka
log-format {{ include "edge.log.http" . }}
{{- if .secure }}
error-log-format {{ include "edge.log.error" . }}
{{- end }}
# Never with the query: tokens and signatures stand there.
http-request set-var(txn.path) path
http-request set-var(txn.host) req.hdr(host),host_only,lower
http-request track-sc1 src table requests_of
http-request return status 429 content-type text/plain string "Too many requests" hdr Retry-After 10 if { sc_http_req_rate(1,requests_of) gt {{ $values.rateLimit.requestsPer10s }} }
acl to_domain var(txn.host) -m str {{ $domain }}
acl to_sfu var(txn.host) -m str sfu.{{ $domain }}
acl to_api var(txn.host) -m str api.{{ $domain }}
{{- if $s3 }}
acl to_s3 var(txn.host) -m str s3.{{ $domain }}
{{- end }}
{{- if $plain }}
# Browsers take these names for this machine, and give it cameras without TLS.
acl to_localhost var(txn.host) -m str localhost 127.0.0.1
acl to_localhost var(txn.host) -m end .localhost
{{- end }}
http-request return status 421 content-type text/plain string "Misdirected request" if !to_domain !to_sfu !to_api{{ if $s3 }} !to_s3{{ end }}{{ if $plain }} !to_localhost{{ end }}
{{- if not .secure }}
http-request redirect code 308 location https://%[var(txn.host)]{{ if ne (int $values.publicPorts.https) 443 }}:{{ $values.publicPorts.https }}{{ end }}%[pathq]{{ if $plain }} unless to_localhost{{ end }}
{{- end }}
# Where the service said nothing itself; never to the store's clients, who did not ask for it, and not in the
# answer that opens a WebSocket.
{{- $where := printf "!{ status 101 }%s" (ternary " !to_s3" "" $s3) }}
http-after-response set-header X-Content-Type-Options nosniff if {{ $where }} !{ res.hdr(X-Content-Type-Options) -m found }
http-after-response set-header Referrer-Policy no-referrer if {{ $where }} !{ res.hdr(Referrer-Policy) -m found }
http-after-response set-header X-Frame-Options DENY if {{ $where }} !{ res.hdr(X-Frame-Options) -m found } !{ res.hdr(Content-Security-Policy) -m found }
http-after-response set-header Content-Security-Policy "frame-ancestors 'none'" if {{ $where }} !{ res.hdr(Content-Security-Policy) -m found }
http-after-response del-header Server if {{ $where }}
{{- if and .secure (ne $domain "localhost") (not (hasSuffix ".localhost" $domain)) }}
http-after-response set-header Strict-Transport-Security "max-age=31536000" if {{ $where }}
{{- end }}
{{- if or .secure $plain }}
# Who the client is says nobody but its connection.
{{- range list "Forwarded" "X-Forwarded-Host" "X-Forwarded-Port" "X-Real-IP" "X-Client-IP" "True-Client-IP" "CF-Connecting-IP" }}
http-request del-header {{ . }}
{{- end }}
http-request set-header X-Forwarded-For %[src]
http-request set-header X-Forwarded-Proto {{ ternary "https" "http" .secure }}
{{- if $s3 }}
use_backend s3 if to_s3
{{- end }}
use_backend sfu if to_sfu
use_backend sfu if !to_api { path /rtc /twirp }
use_backend sfu if !to_api { path_beg /rtc/ /twirp/ }
default_backend api
{{- end }}
{{- end }}

{{/* One line of JSON per request or connection. */}}
{{- define "edge.log.http" -}}
'%{+json}o %(time)[date,utime(%Y-%m-%dT%H:%M:%SZ)] %(client)ci %(frontend)f %(backend)b %(server)s %(server_address)si %(host)[var(txn.host)] %(method)HM %(path)[var(txn.path)] %(protocol)HV %(status)ST %(bytes_in)U %(bytes_out)B %(request_ms)TR %(connect_ms)Tc %(answer_ms)Tr %(total_ms)Ta %(end)tsc %(tls)sslv %(connections)fc %(retries)rc'
{{- end }}

{{- define "edge.log.tcp" -}}
'%{+json}o %(time)[date,utime(%Y-%m-%dT%H:%M:%SZ)] %(client)ci %(frontend)f %(backend)b %(server)s %(server_address)si %(bytes_in)U %(bytes_out)B %(connect_ms)Tc %(total_ms)Tt %(end)tsc %(connections)fc'
{{- end }}

{{- define "edge.log.error" -}}
'%{+json}o %(time)[date,utime(%Y-%m-%dT%H:%M:%SZ)] %(client)ci %(frontend)f %(error)[fc_err_str] %(tls_error)[ssl_fc_err_str] %(sni)[ssl_fc_sni]'
{{- end }}

{{- /* Refuses what cannot work, with words that say what to do. */ -}}
{{- define "dfks.check" -}}
{{- $v := .Values -}}
{{- if and $v.edge.enabled (not $v.sip.advertise) -}}
{{- fail "sip.advertise is mandatory: the address that phones reach the edges at, as a pod's own address in Contact and Via is one they cannot reach. E.g. --set sip.advertise=203.0.113.10 (of the load balancer), or hostIP with edge.hostNetwork=true" -}}
{{- end -}}
{{- if and $v.edge.enabled (or $v.sip.tls.enabled $v.sip.wss.enabled) (not $v.sip.tls.existingSecret) -}}
{{- fail "sip.tls.existingSecret is mandatory with sip.tls.enabled or sip.wss.enabled: a Secret of the type kubernetes.io/tls" -}}
{{- end -}}
{{- if and $v.edge.enabled (not (include "dfks.listeners" . | fromJsonArray)) -}}
{{- fail "no SIP listener: enable at least one of sip.udp, sip.tcp, sip.tls, sip.ws, sip.wss" -}}
{{- end -}}
{{- if and $v.mi.enabled $v.mi.http.enabled (not $v.mi.http.existingSecret) -}}
{{- fail "mi.http.existingSecret is mandatory with mi.http.enabled: a Secret with the key `token`" -}}
{{- end -}}
{{- if and (eq $v.edge.kind "DaemonSet") $v.edge.autoscaling.enabled -}}
{{- fail "edge.autoscaling is not for edge.kind=DaemonSet: it has one pod a node" -}}
{{- end -}}
{{- if and $v.routes.script $v.routes.existingConfigMap -}}
{{- fail "routes.script and routes.existingConfigMap: give one of them" -}}
{{- end -}}
{{- if and $v.nats.enabled $v.bus.url -}}
{{- fail "bus.url is for nats.enabled=false: with the NATS chart its address is known" -}}
{{- end -}}
{{- $owned := dict "nats" (list "url" "credentials_file" "user" "password_file" "token_file" "nkey_file" "tls" "prefix" "domain" "replicas" "timeout_ms" "data_dir" "embedded_listen") "sip" (list "listen" "advertise" "edge_id" "tls") "mi" (list "http" "token_file") "http" (list "listen" "token_file") "routes" (list "script") -}}
{{- range $where := list "config" "edge.config" "worker.config" "mi.config" "pod.config" -}}
{{- $config := $v.config -}}
{{- if ne $where "config" -}}{{- $config = dig "config" (dict) (index $v (trimSuffix ".config" $where)) -}}{{- end -}}
{{- range $section, $keys := $owned -}}
{{- range $key := $keys -}}
{{- if hasKey (default (dict) (index $config $section)) $key -}}
{{- fail (printf "%s.%s.%s is set by the chart: use its own values (bus, sip, mi.http, http, routes)" $where $section $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if hasKey (default (dict) (dig "sip" "auth" (dict) $config)) "users" -}}
{{- fail (printf "%s.sip.auth.users is set by the chart: use sip.usersSecret" $where) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* bus.auth of a role, with the Secret's key filled in, as JSON. */ -}}
{{- define "dfks.busAuth" -}}
{{- $values := include "dfks.role" . | fromJson -}}
{{- $auth := mustMergeOverwrite (deepCopy .root.Values.bus.auth) (deepCopy (default (dict) $values.bus)) -}}
{{- if ne $auth.method "none" -}}
{{- if not $auth.existingSecret -}}
{{- fail (printf "bus.auth.existingSecret (or %s.bus.existingSecret) is mandatory with bus.auth.method=%s" .role $auth.method) -}}
{{- end -}}
{{- if and (eq $auth.method "user") (not $auth.user) -}}
{{- fail (printf "bus.auth.user (or %s.bus.user) is mandatory with bus.auth.method=user" .role) -}}
{{- end -}}
{{- $_ := set $auth "key" (default (get (dict "credentials" "nats.creds" "user" "password" "token" "token" "nkey" "nkey") $auth.method) $auth.key) -}}
{{- end -}}
{{- toJson $auth -}}
{{- end -}}

{{- /* dfks.toml of a role: (dict "root" $ "role" "edge") */ -}}
{{- define "dfks.config" -}}
{{- $root := .root -}}
{{- $v := .root.Values -}}
{{- $values := include "dfks.role" . | fromJson -}}
{{- $auth := include "dfks.busAuth" . | fromJson -}}
{{- $nats := dict "url" (include "dfks.natsUrl" $root) "prefix" $v.bus.prefix "replicas" $v.bus.replicas "timeout_ms" $v.bus.timeoutMs -}}
{{- with $v.bus.domain }}{{- $_ := set $nats "domain" . -}}{{ end -}}
{{- if ne $auth.method "none" -}}
{{- $file := printf "/etc/dfks/bus/%s" $auth.key -}}
{{- $_ := set $nats (get (dict "credentials" "credentials_file" "user" "password_file" "token" "token_file" "nkey" "nkey_file") $auth.method) $file -}}
{{- if eq $auth.method "user" }}{{- $_ := set $nats "user" $auth.user -}}{{ end -}}
{{- end -}}
{{- if $v.bus.tls.existingSecret -}}
{{- $tls := dict -}}
{{- with $v.bus.tls.caKey }}{{- $_ := set $tls "ca" (printf "/etc/dfks/bus-tls/%s" .) -}}{{ end -}}
{{- with $v.bus.tls.certificateKey }}{{- $_ := set $tls "certificate" (printf "/etc/dfks/bus-tls/%s" .) -}}{{ end -}}
{{- with $v.bus.tls.privateKeyKey }}{{- $_ := set $tls "key" (printf "/etc/dfks/bus-tls/%s" .) -}}{{ end -}}
{{- $_ := set $nats "tls" $tls -}}
{{- end -}}
{{- $owned := dict "nats" $nats "http" (dict "listen" (printf "%s:%v" $v.http.bindAddress $v.http.port)) "mi" (dict "http" "") -}}
{{- if $v.http.existingSecret }}{{- $_ := set $owned.http "token_file" "/etc/dfks/http/token" -}}{{ end -}}
{{- $config := mustMergeOverwrite (deepCopy $v.config) (deepCopy (default (dict) $values.config)) -}}
{{- if eq .role "edge" -}}
{{- $listen := list -}}
{{- range include "dfks.listeners" $root | fromJsonArray -}}
{{- $listen = append $listen (printf "%s:%s:%v" .transport $v.sip.bindAddress .port) -}}
{{- end -}}
{{- $sip := dict "listen" $listen -}}
{{- if not (has $v.sip.advertise (list "hostIP" "podIP")) }}{{- $_ := set $sip "advertise" $v.sip.advertise -}}{{ end -}}
{{- if $v.sip.tls.existingSecret -}}
{{- $tls := dict "certificate" "/etc/dfks/sip-tls/tls.crt" "key" "/etc/dfks/sip-tls/tls.key" -}}
{{- with $v.sip.tls.clientCaKey }}{{- $_ := set $tls "client_ca" (printf "/etc/dfks/sip-tls/%s" .) -}}{{ end -}}
{{- $_ := set $sip "tls" $tls -}}
{{- end -}}
{{- if $v.sip.usersSecret }}{{- $_ := set $sip "auth" (dict "users" "/etc/dfks/users/users") -}}{{ end -}}
{{- $_ := set $owned "sip" $sip -}}
{{- else -}}
{{- /* this role opens no SIP socket: what only an edge reads stays out of its file */ -}}
{{- $config = unset $config "sip" -}}
{{- $config = unset $config "profile" -}}
{{- end -}}
{{- if and (eq .role "worker") (or $v.routes.script $v.routes.existingConfigMap) -}}
{{- $_ := set $owned "routes" (dict "script" "/etc/dfks/routes/routes.rhai") -}}
{{- end -}}
{{- if and (eq .role "mi") $v.mi.http.enabled -}}
{{- $_ := set $owned "mi" (dict "http" (printf "%s:%v" $v.http.bindAddress $v.mi.http.port) "token_file" "/etc/dfks/mi/token") -}}
{{- end -}}
{{- $config = mustMergeOverwrite $config $owned -}}
# role {{ .role }}; written by the chart
{{- include "dfks.toml" (dict "path" "" "table" $config) }}
{{- end -}}

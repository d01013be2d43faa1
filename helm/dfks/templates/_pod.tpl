{{- define "dfks.sipPorts" -}}
{{- range include "dfks.listeners" . | fromJsonArray }}
- name: sip-{{ .transport }}
  containerPort: {{ .port }}
  protocol: {{ .protocol }}
  {{- if $.Values.edge.hostNetwork }}
  hostPort: {{ .port }}
  {{- end }}
{{- end }}
{{- end -}}

{{- /* The files of a role: lists of volumes and mounts, as JSON {name: {mount, volume}}. */ -}}
{{- define "dfks.files" -}}
{{- $v := .root.Values -}}
{{- $auth := include "dfks.busAuth" . | fromJson -}}
{{- $secret := dict -}}
{{- if ne $auth.method "none" }}{{- $_ := set $secret "bus" $auth.existingSecret -}}{{ end -}}
{{- with $v.bus.tls.existingSecret }}{{- $_ := set $secret "bus-tls" . -}}{{ end -}}
{{- with $v.http.existingSecret }}{{- $_ := set $secret "http" . -}}{{ end -}}
{{- if eq .role "edge" -}}
{{- with $v.sip.tls.existingSecret }}{{- $_ := set $secret "sip-tls" . -}}{{ end -}}
{{- with $v.sip.usersSecret }}{{- $_ := set $secret "users" . -}}{{ end -}}
{{- end -}}
{{- if and (eq .role "mi") $v.mi.http.enabled }}{{- $_ := set $secret "mi" $v.mi.http.existingSecret -}}{{ end -}}
{{- $map := dict "config" (printf "%s-%s" (include "dfks.fullname" .root) .role) -}}
{{- if eq .role "worker" -}}
{{- if $v.routes.script }}{{- $_ := set $map "routes" (printf "%s-routes" (include "dfks.fullname" .root)) -}}{{ end -}}
{{- with $v.routes.existingConfigMap }}{{- $_ := set $map "routes" . -}}{{ end -}}
{{- end -}}
{{- toJson (dict "secret" $secret "map" $map) -}}
{{- end -}}

{{- /* Longest life after the decision to stop: unready, drain, and some air. */ -}}
{{- define "dfks.terminationGrace" -}}
{{- $values := include "dfks.role" . | fromJson -}}
{{- $grace := dig "config" "run" "shutdown_grace_seconds" (dig "run" "shutdown_grace_seconds" 40 .root.Values.config) $values -}}
{{- add (int $values.preStopSeconds) (int $grace) 10 -}}
{{- end -}}

{{- define "dfks.env" -}}
{{- if eq .role "edge" }}
- name: DFKS__SIP__EDGE_ID
  valueFrom:
    fieldRef:
      fieldPath: {{ ternary "spec.nodeName" "metadata.name" (eq .root.Values.edge.kind "DaemonSet") }}
{{- if has .root.Values.sip.advertise (list "hostIP" "podIP") }}
- name: DFKS__SIP__ADVERTISE
  valueFrom:
    fieldRef:
      fieldPath: status.{{ .root.Values.sip.advertise }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The pod of a role: (dict "root" $ "role" "edge") */ -}}
{{- define "dfks.pod" -}}
{{- $root := .root -}}
{{- $v := .root.Values -}}
{{- $values := include "dfks.role" . | fromJson -}}
{{- $files := include "dfks.files" . | fromJson -}}
metadata:
  labels:
    {{- include "dfks.selector" . | nindent 4 }}
    app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
    {{- with $values.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "dfks.config" . | sha256sum }}
    {{- with $values.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "dfks.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml $values.securityContext | nindent 4 }}
  terminationGracePeriodSeconds: {{ include "dfks.terminationGrace" . }}
  {{- if and (eq .role "edge") $v.edge.hostNetwork }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if not (and (eq .role "edge") (eq $v.edge.kind "DaemonSet")) }}
  topologySpreadConstraints:
    {{- if $values.topologySpreadConstraints }}
    {{- toYaml $values.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "dfks.selector" $ | nindent 10 }}
    {{- end }}
    {{- end }}
  {{- end }}
  containers:
    - name: dfks
      image: {{ include "dfks.image" $root }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: [run, --config, /etc/dfks/config/dfks.toml, --role, {{ .role }}]
      securityContext:
        {{- toYaml $values.containerSecurityContext | nindent 8 }}
      {{- $env := include "dfks.env" . }}
      {{- if or $env $values.extraEnv }}
      env:
        {{- $env | nindent 8 | replace "\n        \n" "\n" }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- with $values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ $v.http.port }}
          {{- if and (eq .role "edge") $v.edge.hostNetwork }}
          hostPort: {{ $v.http.port }}
          {{- end }}
        {{- if and (eq .role "mi") $v.mi.http.enabled }}
        - name: mi
          containerPort: {{ $v.mi.http.port }}
        {{- end }}
        {{- if eq .role "edge" }}
        {{- include "dfks.sipPorts" $root | nindent 8 | replace "\n        \n" "\n" }}
        {{- end }}
      startupProbe:
        httpGet: {path: /healthz, port: http}
        {{- toYaml $v.probes.startup | nindent 8 }}
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        {{- toYaml $v.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        {{- toYaml $v.probes.readiness | nindent 8 }}
      {{- if $values.preStopSeconds }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ $values.preStopSeconds }}
      {{- end }}
      {{- with $values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- range $name, $_ := merge (dict) $files.map $files.secret }}
        - name: {{ $name }}
          mountPath: /etc/dfks/{{ $name }}
          readOnly: true
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- range $name, $map := $files.map }}
    - name: {{ $name }}
      configMap:
        name: {{ $map }}
    {{- end }}
    {{- range $name, $secret := $files.secret }}
    - name: {{ $name }}
      secret:
        secretName: {{ $secret }}
        defaultMode: 0440
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

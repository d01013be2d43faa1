{{- define "dfks.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "dfks.fullname" -}}
{{- $name := include "dfks.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* What tells this release's pods of one role apart: (dict "root" $ "role" "edge") */ -}}
{{- define "dfks.selector" -}}
app.kubernetes.io/name: {{ include "dfks.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "dfks.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: dfks
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "dfks.labels" -}}
{{ include "dfks.selector" . }}
{{ include "dfks.commonLabels" .root }}
{{- end -}}

{{- /* Labels of what belongs to no role. */ -}}
{{- define "dfks.releaseLabels" -}}
app.kubernetes.io/name: {{ include "dfks.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{ include "dfks.commonLabels" . }}
{{- end -}}

{{- define "dfks.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "dfks.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "dfks.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- /* Where NATS is. The name of the NATS chart's Service follows that chart's own rule. */ -}}
{{- define "dfks.natsUrl" -}}
{{- if not .Values.nats.enabled -}}
{{- required "bus.url is mandatory with nats.enabled=false: e.g. --set bus.url=nats://nats.messaging:4222" .Values.bus.url -}}
{{- else -}}
{{- $name := default "nats" .Values.nats.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
nats://{{ default $full .Values.nats.fullnameOverride | trunc 63 | trimSuffix "-" }}:4222
{{- end -}}
{{- end -}}

{{- /* The values of a role with those of `pod` below: (dict "root" $ "role" "edge") */ -}}
{{- define "dfks.role" -}}
{{- $role := deepCopy (index .root.Values .role) -}}
{{- range $key, $value := .root.Values.pod -}}
{{- if not (hasKey $role $key) -}}
{{- $_ := set $role $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $role -}}
{{- end -}}

{{- /* The SIP listeners that are enabled, as JSON: [{"transport": "udp", "port": 5060, "protocol": "UDP"}, …] */ -}}
{{- define "dfks.listeners" -}}
{{- $listeners := list -}}
{{- range $transport := list "udp" "tcp" "tls" "ws" "wss" -}}
{{- with index $.Values.sip $transport -}}
{{- if .enabled -}}
{{- $listeners = append $listeners (dict "transport" $transport "port" .port "protocol" (ternary "UDP" "TCP" (eq $transport "udp"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $listeners -}}
{{- end -}}

{{- /* What every pod sends to: names, and NATS. */ -}}
{{- define "dfks.egress" -}}
# names
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
# NATS
- ports:
    {{- range .natsPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .natsTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- /* The Deployment of a role that keeps nothing: (dict "root" $ "role" "worker") */ -}}
{{- define "dfks.deployment" -}}
{{- $values := index .root.Values .role -}}
{{- if $values.enabled }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "dfks.fullname" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "dfks.labels" . | nindent 4 }}
spec:
  {{- if not $values.autoscaling.enabled }}
  replicas: {{ $values.replicas }}
  {{- end }}
  strategy:
    {{- if $values.updateStrategy }}
    {{- toYaml $values.updateStrategy | nindent 4 }}
    {{- else }}
    type: RollingUpdate
    {{- end }}
  selector:
    matchLabels:
      {{- include "dfks.selector" . | nindent 6 }}
  template:
    {{- include "dfks.pod" . | nindent 4 }}
{{- end }}
{{- end -}}

{{- /* A value as TOML. A JSON text is a TOML basic string; numbers of values.yaml come as floats. */ -}}
{{- define "dfks.tomlValue" -}}
{{- if kindIs "slice" . -}}
[{{ range $at, $item := . }}{{ if $at }}, {{ end }}{{ include "dfks.tomlValue" $item }}{{ end }}]
{{- else if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- else if or (kindIs "bool" .) (kindIs "int" .) (kindIs "int64" .) -}}
{{ . }}
{{- else -}}
{{ toString . | toJson }}
{{- end -}}
{{- end -}}

{{- define "dfks.tomlKey" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{- define "dfks.isTables" -}}
{{- if kindIs "slice" . }}{{ if . }}{{ if kindIs "map" (first .) }}yes{{ end }}{{ end }}{{ end -}}
{{- end -}}

{{- /* A table and those in it: (dict "path" "sip." "table" $map); plain keys first, as TOML wants it. */ -}}
{{- define "dfks.toml" -}}
{{- $path := .path -}}
{{- range $key, $value := .table }}
{{- if not (or (kindIs "invalid" $value) (kindIs "map" $value) (include "dfks.isTables" $value)) }}
{{ include "dfks.tomlKey" $key }} = {{ include "dfks.tomlValue" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := .table }}
{{- $name := printf "%s%s" $path (include "dfks.tomlKey" $key) }}
{{- if kindIs "map" $value }}
{{- if $value }}

[{{ $name }}]
{{- include "dfks.toml" (dict "path" (printf "%s." $name) "table" $value) }}
{{- end }}
{{- else if include "dfks.isTables" $value }}
{{- range $value }}

[[{{ $name }}]]
{{- include "dfks.toml" (dict "path" (printf "%s." $name) "table" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

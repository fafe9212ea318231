{{/* With barnabas in it, as rules for alerts and dashboards look for it in the name of the job, which is that of the service. */}}
{{- define "barnabas.name" -}}
{{- if contains "barnabas" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ .Release.Name | trunc 41 | trimSuffix "-" }}-barnabas
{{- end }}
{{- end }}
{{- define "barnabas.selector" -}}
app.kubernetes.io/name: barnabas
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "barnabas.labels" -}}
{{ include "barnabas.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* A number that is not in quotes is a float to Helm, which would write a gigabyte as 1.073741824e+09. */}}
{{- define "barnabas.value" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* Of dict "listeners" "host": NAME://HOST:PORT of each. */}}
{{- define "barnabas.listeners" -}}
{{- range $i, $listener := .listeners }}{{ if $i }},{{ end }}{{ $listener.name }}://{{ $.host }}:{{ int $listener.port }}{{ end }}
{{- end }}

{{- define "barnabas.protocols" -}}
{{- range $i, $listener := . }}{{ if $i }},{{ end }}{{ $listener.name }}:{{ $listener.protocol }}{{ end }}
{{- end }}

{{/* A port's name is short, and no listener's name. Of dict "index" "port". */}}
{{- define "barnabas.port" -}}
tcp-kafka{{ if .index }}-{{ int .port }}{{ end }}
{{- end }}

{{- define "barnabas.ports" -}}
{{- range $i, $listener := . }}
- name: {{ include "barnabas.port" (dict "index" $i "port" $listener.port) }}
  port: {{ int $listener.port }}
{{- end }}
{{- end }}

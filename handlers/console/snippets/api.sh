# CLIENT_SECRET is the secret of the client, which was shown once.
{{- if .Machine}}

# Get a token for the client itself.
curl -s "{{.Issuer}}/token" {{.Auth}} -d grant_type=client_credentials
{{- end}}

# Check a token that a caller has sent.
curl -s "{{.Issuer}}/introspect" {{.Auth}} -d "token=$ACCESS_TOKEN"

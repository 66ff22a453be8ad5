{{- if .Dev}}CLIENT_TOKEN=$(curl -s "{{.Issuer}}/dev/client-token" -H "Accept: text/plain" -d sub=alice -d amr=hwk)
{{else}}# CLIENT_TOKEN is what your authentication service issued for the user.
{{end}}
{{- if .Secret}}# CLIENT_SECRET is the secret of the client, which was shown once.
{{end -}}
field() { sed -nE 's/.*"'"$1"'":"([^"]+)".*/\1/p'; }
token() { curl -s "{{.Issuer}}/token" {{.Auth}} "$@"; }

# Exchange the client token for a session.
{{- if .API}} Its access token is for the client itself, for
# /userinfo, and for the API.
{{- end}}
ANSWER=$(token -d "subject_token=$CLIENT_TOKEN" \
{{- if .API}}
  -d audience={{.ID}} --data-urlencode audience={{shell .API}} \
{{- end}}
  -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
  -d subject_token_type=urn:ietf:params:oauth:token-type:jwt)
echo "$ANSWER"
{{- if .Refresh}}

# Refresh it: each refresh token works once.
ANSWER=$(token -d grant_type=refresh_token -d "refresh_token=$(echo "$ANSWER" | field refresh_token)")
echo "$ANSWER"
{{- end}}

# Read the user, then sign out.
ACCESS=$(echo "$ANSWER" | field access_token)
curl -s "{{.Issuer}}/userinfo" -H "Authorization: Bearer $ACCESS"
curl -s "{{.Issuer}}/revoke" {{.Auth}} -d "token=$ACCESS"

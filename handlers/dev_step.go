package handlers

import "strings"

// devStep is a step of the walk-through on the start page. Code can be pasted into any
// POSIX shell, after the code of the steps before it.
type devStep struct {
	ID, Title, Say, Code string
}

// devSteps returns the walk-through for a server.
func devSteps(issuer string) []devStep {
	steps := []devStep{
		{"sign-in", "Sign in", "Your authentication service proves who the user is with a client token: a JWT for one use. Here the demo issuer signs in Alice with a passkey.",
			`CLIENT_TOKEN=$(curl -s ISSUER/dev/client-token \
  -H 'Accept: text/plain' -d sub=alice -d amr=hwk)`},
		{"exchange", "Exchange", "The app exchanges the client token for a session (RFC 8693). It gets an access token, which is a JWT, and a refresh token.",
			`field() { sed -nE 's/.*"'"$1"'":"([^"]+)".*/\1/p'; }
ANSWER=$(curl -s ISSUER/token -d client_id=demo-web -d "subject_token=$CLIENT_TOKEN" \
  -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
  -d subject_token_type=urn:ietf:params:oauth:token-type:jwt)
echo "$ANSWER"
ACCESS=$(echo "$ANSWER" | field access_token) REFRESH=$(echo "$ANSWER" | field refresh_token)`},
		{"user", "Read the user", "Any API can verify the access token by itself with the public keys. An app can also ask for the user and the claims of the client.",
			`curl -s ISSUER/userinfo -H "Authorization: Bearer $ACCESS"`},
		{"refresh", "Refresh", "A refresh token works once. The app gets a new access token and the next refresh token.",
			`ANSWER=$(curl -s ISSUER/token -d client_id=demo-web \
  -d grant_type=refresh_token -d "refresh_token=$REFRESH")
NEXT=$(echo "$ANSWER" | field refresh_token)`},
		{"retry", "Lose the response", "The app never received that response, so it sends the same refresh token again. It gets the same next token: nobody is signed out.",
			`ANSWER=$(curl -s ISSUER/token -d client_id=demo-web \
  -d grant_type=refresh_token -d "refresh_token=$REFRESH")
[ "$(echo "$ANSWER" | field refresh_token)" = "$NEXT" ] && echo "the same refresh token"`},
		{"sign-out", "Sign out", "Revoking any token of the session ends it. The refresh token is refused from now on.",
			`curl -s ISSUER/revoke -d client_id=demo-web -d "token=$NEXT"
curl -s ISSUER/token -d client_id=demo-web \
  -d grant_type=refresh_token -d "refresh_token=$NEXT"`},
	}
	for i := range steps {
		steps[i].Code = strings.ReplaceAll(steps[i].Code, "ISSUER", issuer)
	}
	return steps
}

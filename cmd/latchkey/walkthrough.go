package main

import (
	"context"
	"fmt"
	"io"
)

// step is one request of the walk-through. It is made as it stands and printed
// as a shell line that makes it again: a value $NAME stands for what an
// earlier step saved.
type step struct {
	title  string
	say    string
	path   string
	form   [][2]string // nil: GET
	plain  bool        // the answer is a bare token
	basic  string      // user:password
	save   string      // shell variable for the whole answer
	fields [][2]string // shell variable, member of the answer
	status int         // of the answer; 0: 200
	want   string      // what the answer says
	after  func(w *walker) error
}

var demoSteps = []step{
	{
		title: "Sign in", say: "Your authentication service proves who the user is with a client token: a JWT of one minute. Here the demo issuer makes one.",
		path: "/dev/client-token", form: [][2]string{{"sub", "alice"}, {"amr", "hwk"}}, plain: true, save: "CLIENT_TOKEN",
	},
	{
		title: "Exchange", say: "The app swaps the client token for a session (RFC 8693). A client token works once.",
		path: "/token", form: [][2]string{
			{"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"}, {"client_id", "demo-web"},
			{"subject_token_type", "urn:ietf:params:oauth:token-type:jwt"}, {"subject_token", "$CLIENT_TOKEN"},
			{"latchkey_device_name", "Alice's laptop"},
		},
		save: "SESSION", fields: [][2]string{{"ACCESS", "access_token"}, {"REFRESH", "refresh_token"}},
		after: (*walker).showClaims,
	},
	{
		title: "Verify offline", say: "Anybody verifies the access token with the public keys, without asking the server.",
		path: "/.well-known/jwks.json", after: (*walker).verify,
	},
	{
		title: "Refresh", say: "The refresh token rotates: the old one is spent, its successor comes with a fresh access token.",
		path: "/token", form: refreshForm("$REFRESH"), save: "SECOND", fields: [][2]string{{"REFRESH2", "refresh_token"}},
	},
	{
		title: "Refresh again", say: "The answer got lost? The same request within a minute gets the same successor. Nobody is logged out.",
		path: "/token", form: refreshForm("$REFRESH"), save: "RETRIED", fields: [][2]string{{"REFRESH3", "refresh_token"}},
		after: (*walker).compare,
	},
	{
		title: "Use the successor", say: "Using the successor closes the window.",
		path: "/token", form: refreshForm("$REFRESH2"), save: "THIRD", fields: [][2]string{{"ACCESS3", "access_token"}, {"REFRESH4", "refresh_token"}},
	},
	{
		title: "A delayed duplicate", say: "A copy of the first request that arrives now, still within the minute, is refused, and ends nothing.",
		path: "/token", form: refreshForm("$REFRESH"), status: 400, want: `"error":"invalid_grant"`,
	},
	{
		title: "Rotate once more", say: "The rightful app goes on.",
		path: "/token", form: refreshForm("$REFRESH4"), save: "FOURTH", fields: [][2]string{{"ACCESS4", "access_token"}},
	},
	{
		title: "Replay", say: "Somebody shows the first token again, three rotations old. That is theft: the session ends.",
		path: "/token", form: refreshForm("$REFRESH"), status: 400, want: `"error":"invalid_grant"`,
	},
	{
		title: "Ask about it", say: "A resource server that asks is told at once (RFC 7662), although the access token has not expired.",
		path: "/introspect", basic: "demo-api:" + demoSecret, form: [][2]string{{"token", "$ACCESS4"}}, want: `"active":false`,
	},
	{
		title: "A new session", say: "Alice signs in again.",
		path: "/dev/client-token", form: [][2]string{{"sub", "alice"}, {"amr", "hwk"}}, plain: true, save: "CLIENT_TOKEN",
	},
	{
		path: "/token", form: [][2]string{
			{"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"}, {"client_id", "demo-web"},
			{"subject_token_type", "urn:ietf:params:oauth:token-type:jwt"}, {"subject_token", "$CLIENT_TOKEN"},
		},
		save: "SESSION", fields: [][2]string{{"ACCESS", "access_token"}, {"REFRESH", "refresh_token"}},
	},
	{
		say:  "It is active:",
		path: "/introspect", basic: "demo-api:" + demoSecret, form: [][2]string{{"token", "$ACCESS"}}, want: `"active":true`,
	},
	{
		title: "Sign out", say: "Revoking any token of the session ends it (RFC 7009).",
		path: "/revoke", form: [][2]string{{"client_id", "demo-web"}, {"token", "$REFRESH"}},
	},
	{
		path: "/introspect", basic: "demo-api:" + demoSecret, form: [][2]string{{"token", "$ACCESS"}}, want: `"active":false`,
	},
}

func refreshForm(token string) [][2]string {
	return [][2]string{{"grant_type", "refresh_token"}, {"client_id", "demo-web"}, {"refresh_token", token}}
}

// fieldFunction takes a member out of an answer in any POSIX shell.
const fieldFunction = `field() { sed -nE 's/.*"'"$1"'":"([^"]+)".*/\1/p'; }`

// walkThrough makes the demo requests to the running server and prints each
// with its answer. It fails if the server does not do what is said.
func walkThrough(ctx context.Context, out io.Writer, issuer string) error {
	w := &walker{ctx: ctx, out: out, issuer: issuer, saved: map[string]string{}, shown: map[int]int{}}
	w.say("Serving %s. Every line that begins with $ works when pasted into a shell.\n", issuer)
	w.shell(fieldFunction)
	number := 0
	for _, s := range demoSteps {
		if s.title != "" {
			number++
			w.say("\n%d. %s", number, s.title)
		}
		if s.say != "" {
			w.say("   %s", s.say)
		}
		if err := w.do(s); err != nil {
			return fmt.Errorf("walk-through, %s: %w", s.path, err)
		}
	}
	w.say("\nNow it is yours. Get a client token for anybody, with any claims:\n")
	w.shell(`curl -s ` + issuer + `/dev/client-token -H 'Content-Type: application/json' -d '{"sub": "bob", "amr": ["pwd", "otp"], "claims": {"email": "bob@example.com"}}'`)
	w.shell(`curl -s ` + issuer + `/.well-known/openid-configuration`)
	w.say("\nPublic client: demo-web. Secret client: demo-api, secret %s.\nThe demo issuer is %s/client-tokens. Ctrl-C ends the server.\n", demoSecret, issuer)
	return nil
}

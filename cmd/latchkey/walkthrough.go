package main

import (
	"context"
	"fmt"
	"io"
)

// step is one request of the walk-through. $NAME in a form value is replaced by the
// value that an earlier step saved. A step without a title belongs to the previous
// step.
type step struct {
	title  string
	tone   tone // how the title rates the request
	say    string
	path   string
	form   [][2]string // nil: GET
	plain  bool        // the response is a bare token
	basic  string      // user:password
	save   string      // shell variable for the whole response
	fields [][2]string // shell variable, member of the response
	status int         // of the response; 0: 200
	want   string      // text that the response must contain
	after  func(w *walker) error
}

// tone rates the repeated use of a refresh token.
type tone int

const (
	usual tone = iota
	harmless
	rejected // but harmless
	theft
)

var demoSteps = []step{
	{
		title: "Sign in", say: "Your authentication service proves who the user is with a client token: a JWT, valid for one minute.",
		path: "/dev/client-token", form: [][2]string{{"sub", "alice"}, {"amr", "hwk"}}, plain: true, save: "CLIENT_TOKEN",
	},
	{
		title: "Exchange", say: "The app exchanges the client token for a session (RFC 8693). A client token can be used once.",
		path: "/token", form: [][2]string{
			{"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"}, {"client_id", "demo-web"},
			{"subject_token_type", "urn:ietf:params:oauth:token-type:jwt"}, {"subject_token", "$CLIENT_TOKEN"},
			{"latchkey_device_name", "Alice's laptop"},
		},
		save: "SESSION", fields: [][2]string{{"ACCESS", "access_token"}, {"REFRESH", "refresh_token"}},
		after: (*walker).showClaims,
	},
	{
		title: "Verify offline", say: "Anyone can verify the access token with the public keys, without calling the server.",
		path: "/.well-known/jwks.json", after: (*walker).verify,
	},
	{
		title: "Refresh", say: "A refresh token can be used once: the app sends [1], and gets [2] and a new access token.",
		path: "/token", form: refreshForm("$REFRESH"), save: "SECOND", fields: [][2]string{{"REFRESH2", "refresh_token"}},
	},
	{
		title: "Retry", tone: harmless, say: "The response was lost, so the app sends [1] again. It gets the same [2], and the user stays signed in.",
		path: "/token", form: refreshForm("$REFRESH"), save: "RETRIED", fields: [][2]string{{"REFRESH3", "refresh_token"}},
		after: (*walker).compare,
	},
	{
		title: "Next refresh", say: "The app uses [2], so it has received the response to [1] and does not need to retry [1] again.",
		path: "/token", form: refreshForm("$REFRESH2"), save: "THIRD", fields: [][2]string{{"ACCESS3", "access_token"}, {"REFRESH4", "refresh_token"}},
	},
	{
		title: "Late copy", tone: rejected, say: "The network delivers a copy of step 4 within a minute. It is rejected, and the app continues with [3].",
		path: "/token", form: refreshForm("$REFRESH"), status: 400, want: `"latchkey_reason":"refresh_superseded"`,
	},
	{
		path: "/token", form: refreshForm("$REFRESH4"), save: "FOURTH", fields: [][2]string{{"ACCESS4", "access_token"}},
	},
	{
		title: "Replay", tone: theft, say: "Someone sends [1], which is three rotations old, so it must be a copy. The session ends for everybody.",
		path: "/token", form: refreshForm("$REFRESH"), status: 400, want: `"latchkey_reason":"refresh_reused"`,
	},
	{
		path: "/introspect", basic: "demo-api:" + demoSecret, form: [][2]string{{"token", "$ACCESS4"}}, want: `"active":false`,
	},
	{
		title: "New session", say: "Alice signs in again. A resource server can also ask the server whether a token is active (RFC 7662).",
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
		path: "/introspect", basic: "demo-api:" + demoSecret, form: [][2]string{{"token", "$ACCESS"}}, want: `"active":true`,
	},
	{
		title: "Sign out", say: "Revoking any token of the session ends the session (RFC 7009).",
		path: "/revoke", form: [][2]string{{"client_id", "demo-web"}, {"token", "$REFRESH"}},
	},
	{
		path: "/introspect", basic: "demo-api:" + demoSecret, form: [][2]string{{"token", "$ACCESS"}}, want: `"active":false`,
	},
}

func refreshForm(token string) [][2]string {
	return [][2]string{{"grant_type", "refresh_token"}, {"client_id", "demo-web"}, {"refresh_token", token}}
}

// walkThrough makes the demo requests to the running server, and prints each
// with its response. It fails if the server does not behave as a step describes.
func walkThrough(ctx context.Context, p printer, issuer string) error {
	w := &walker{ctx: ctx, printer: p, issuer: issuer, saved: map[string]string{}}
	p.begin(issuer)
	number := 0
	for _, s := range demoSteps {
		if s.title != "" {
			number++
			p.step(number, s)
		}
		if err := w.do(s); err != nil {
			return fmt.Errorf("walk-through, %s: %w", s.path, err)
		}
	}
	p.end(issuer)
	return nil
}

// printer prints a walk-through.
type printer interface {
	begin(issuer string)
	step(number int, s step)
	// answer prints a request, with the variables in its form replaced, and its
	// response.
	answer(w *walker, s step, status int, text string)
	claims(header, payload []byte)
	note(text string)
	end(issuer string)
}

func newPrinter(out io.Writer, verbose, color bool) printer {
	if verbose {
		return &fullPrinter{out: out, shown: map[int]int{}}
	}
	return &briefPrinter{out: out, color: color, refresh: map[string]int{}}
}

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
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
	after  func(w *walker, answer string)
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
		title: "Refresh again", say: "The answer got lost? The same request within 10 seconds gets the same successor. Nobody is logged out.",
		path: "/token", form: refreshForm("$REFRESH"), save: "RETRIED", fields: [][2]string{{"REFRESH3", "refresh_token"}},
		after: func(w *walker, _ string) {
			w.say("Same refresh token as before: %t", w.saved["REFRESH2"] == w.saved["REFRESH3"])
		},
	},
	{
		title: "Use the successor", say: "Using the successor closes the window.",
		path: "/token", form: refreshForm("$REFRESH2"), save: "THIRD", fields: [][2]string{{"ACCESS3", "access_token"}, {"REFRESH4", "refresh_token"}},
	},
	{
		title: "A delayed duplicate", say: "A copy of the first request that arrives now, still within 10 seconds, is refused, and ends nothing.",
		path: "/token", form: refreshForm("$REFRESH"),
	},
	{
		title: "Rotate once more", say: "The rightful app goes on.",
		path: "/token", form: refreshForm("$REFRESH4"), save: "FOURTH", fields: [][2]string{{"ACCESS4", "access_token"}},
	},
	{
		title: "Replay", say: "Somebody shows the first token again, three rotations old. That is theft: the session ends.",
		path: "/token", form: refreshForm("$REFRESH"),
	},
	{
		title: "Ask about it", say: "A resource server that asks is told at once (RFC 7662), although the access token has not expired.",
		path: "/introspect", basic: "demo-api:" + demoSecret, form: [][2]string{{"token", "$ACCESS4"}},
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
		path: "/introspect", basic: "demo-api:" + demoSecret, form: [][2]string{{"token", "$ACCESS"}},
	},
	{
		title: "Sign out", say: "Revoking any token of the session ends it (RFC 7009).",
		path: "/revoke", form: [][2]string{{"client_id", "demo-web"}, {"token", "$REFRESH"}},
	},
	{
		path: "/introspect", basic: "demo-api:" + demoSecret, form: [][2]string{{"token", "$ACCESS"}},
	},
}

func refreshForm(token string) [][2]string {
	return [][2]string{{"grant_type", "refresh_token"}, {"client_id", "demo-web"}, {"refresh_token", token}}
}

// fieldFunction takes a member out of an answer in any POSIX shell.
const fieldFunction = `field() { sed -E 's/.*"'"$1"'":"([^"]+)".*/\1/'; }`

// walker carries a walk-through: what it prints to and what it has saved.
type walker struct {
	ctx    context.Context
	out    io.Writer
	issuer string
	saved  map[string]string
	shown  map[int]int // answers by status
}

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

func (w *walker) say(format string, args ...any) { fmt.Fprintf(w.out, format+"\n", args...) }

func (w *walker) shell(line string) { fmt.Fprintf(w.out, "  $ %s\n", line) }

// do prints a step, makes its request and prints the answer.
func (w *walker) do(s step) error {
	w.print(s)
	answer, status, err := w.request(s)
	if err != nil {
		return err
	}
	if s.save != "" {
		w.saved[s.save] = answer
	}
	for _, f := range s.fields {
		var members map[string]any
		if err := json.Unmarshal([]byte(answer), &members); err != nil {
			return err
		}
		value, ok := members[f[1]].(string)
		if !ok {
			return fmt.Errorf("answered %d without %s", status, f[1])
		}
		w.saved[f[0]] = value
	}
	w.show(status, answer)
	if s.after != nil {
		s.after(w, answer)
	}
	return nil
}

// print writes the step as shell lines.
func (w *walker) print(s step) {
	line := "curl -s " + w.issuer + s.path
	if s.basic != "" {
		line += " -u " + s.basic
	}
	if s.plain {
		line += " -H 'Accept: text/plain'"
	}
	for _, p := range s.form {
		line += ` --data-urlencode "` + p[0] + "=" + p[1] + `"`
	}
	if s.save != "" {
		line = s.save + "=$(" + line + ")"
	}
	w.shell(line)
	for _, f := range s.fields {
		w.shell(f[0] + `=$(echo "$` + s.save + `" | field ` + f[1] + `)`)
	}
}

var variable = regexp.MustCompile(`\$[A-Z0-9_]+`)

func (w *walker) request(s step) (answer string, status int, err error) {
	form := url.Values{}
	for _, p := range s.form {
		form.Set(p[0], variable.ReplaceAllStringFunc(p[1], func(name string) string { return w.saved[name[1:]] }))
	}
	method, body := http.MethodGet, io.Reader(nil)
	if s.form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, w.issuer+s.path, body)
	if err != nil {
		return "", 0, err
	}
	if s.form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if s.plain {
		req.Header.Set("Accept", "text/plain")
	}
	if user, password, ok := strings.Cut(s.basic, ":"); ok {
		req.SetBasicAuth(user, password)
	}
	req.Header.Set("User-Agent", "latchkey-dev")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), resp.StatusCode, err
}

var longToken = regexp.MustCompile(`(eyJ[\w-]{20})[\w-]*\.[\w.-]+([\w-]{10})`)

// show prints an answer, indented. Tokens that the reader has seen the like of
// are shortened.
func (w *walker) show(status int, answer string) {
	if w.shown[status] > 1 {
		answer = longToken.ReplaceAllString(answer, "$1…$2")
	}
	w.shown[status]++
	var pretty bytes.Buffer
	if json.Indent(&pretty, []byte(answer), "  ", "  ") == nil {
		answer = pretty.String()
	}
	fmt.Fprintf(w.out, "  %d %s\n", status, answer)
}

func (w *walker) showClaims(string) {
	w.say("   The access token says:")
	for _, part := range strings.Split(w.saved["ACCESS"], ".")[:2] {
		text, err := decodePart(part)
		if err == nil {
			fmt.Fprintf(w.out, "  %s\n", text)
		}
	}
}

// verify uses a client library that knows nothing of us: go-oidc.
func (w *walker) verify(string) {
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, w.issuer)
	if err == nil {
		_, err = provider.Verifier(&oidc.Config{ClientID: "demo-web"}).Verify(ctx, w.saved["ACCESS"])
	}
	if err != nil {
		w.say("   Verification failed: %v", err)
		return
	}
	w.say("   Signature, issuer, audience and expiry are good (verified with github.com/coreos/go-oidc).")
}

func decodePart(part string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return "", err
	}
	var pretty bytes.Buffer
	err = json.Indent(&pretty, raw, "  ", "  ")
	return pretty.String(), err
}

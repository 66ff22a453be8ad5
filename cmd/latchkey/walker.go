package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// walker carries a walk-through: what it prints to and what it has saved.
type walker struct {
	ctx    context.Context
	out    io.Writer
	issuer string
	saved  map[string]string
	shown  map[int]int // answers by status
	answer string      // the last one
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
	if status != cmp.Or(s.status, http.StatusOK) || !strings.Contains(answer, s.want) {
		return fmt.Errorf("answered %d %s", status, answer)
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
	w.answer = answer
	if s.after != nil {
		return s.after(w)
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

func (w *walker) showClaims() error {
	w.say("   The access token says:")
	header, rest, _ := strings.Cut(w.saved["ACCESS"], ".")
	payload, _, _ := strings.Cut(rest, ".")
	for _, part := range []string{header, payload} {
		text, err := decodePart(part)
		if err != nil {
			return fmt.Errorf("the access token is no JWT: %w", err)
		}
		fmt.Fprintf(w.out, "  %s\n", text)
	}
	return nil
}

// compare looks at what the retried refresh gave.
func (w *walker) compare() error {
	if w.saved["REFRESH3"] != w.saved["REFRESH2"] {
		return errors.New("the retried refresh gave another refresh token")
	}
	w.say("   Same refresh token as before: true")
	return nil
}

// verify does what a resource server does, with a JWT library and the key set
// that the server has just answered.
func (w *walker) verify() error {
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(w.answer), &keys); err != nil {
		return err
	}
	token, err := jwt.ParseSigned(w.saved["ACCESS"], []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil {
		return err
	}
	var claims jwt.Claims
	if err := token.Claims(keys, &claims); err != nil {
		return fmt.Errorf("offline verification: %w", err)
	}
	if err := claims.Validate(jwt.Expected{Issuer: w.issuer, AnyAudience: jwt.Audience{"demo-web"}, Time: time.Now()}); err != nil {
		return fmt.Errorf("offline verification: %w", err)
	}
	w.say("   Signature, issuer, audience and expiry are good (verified with github.com/go-jose/go-jose).")
	return nil
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

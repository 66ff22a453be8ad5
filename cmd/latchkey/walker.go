package main

import (
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

// walker makes the requests of a walk-through, checks the responses, and saves
// values for later requests.
type walker struct {
	printer
	ctx    context.Context
	issuer string
	saved  map[string]string
	last   string // the last response
}

// do makes the request of a step and prints it with its response.
func (w *walker) do(s step) error {
	answer, status, err := w.request(s)
	if err != nil {
		return err
	}
	w.answer(w, s, status, answer)
	if status != cmp.Or(s.status, http.StatusOK) || !strings.Contains(answer, s.want) {
		return fmt.Errorf("unexpected response: %d %s", status, answer)
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
			return fmt.Errorf("unexpected response: %d without %s", status, f[1])
		}
		w.saved[f[0]] = value
	}
	w.last = answer
	if s.after != nil {
		return s.after(w)
	}
	return nil
}

var variable = regexp.MustCompile(`\$[A-Z0-9_]+`)

// value replaces the variables in a form value by the values that earlier steps saved.
func (w *walker) value(text string) string {
	return variable.ReplaceAllStringFunc(text, func(name string) string { return w.saved[name[1:]] })
}

// method returns the HTTP method of the step.
func (s step) method() string {
	if s.form == nil {
		return http.MethodGet
	}
	return http.MethodPost
}

func (w *walker) request(s step) (answer string, status int, err error) {
	form := url.Values{}
	for _, p := range s.form {
		form.Set(p[0], w.value(p[1]))
	}
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, s.method(), w.issuer+s.path, strings.NewReader(form.Encode()))
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

// showClaims prints the contents of the access token.
func (w *walker) showClaims() error {
	header, rest, _ := strings.Cut(w.saved["ACCESS"], ".")
	payload, _, _ := strings.Cut(rest, ".")
	var parts [2][]byte
	for i, part := range []string{header, payload} {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || !json.Valid(raw) {
			return errors.New("the access token is not a JWT")
		}
		parts[i] = raw
	}
	w.claims(parts[0], parts[1])
	return nil
}

// compare checks that the retried refresh returned the same token.
func (w *walker) compare() error {
	if w.saved["REFRESH3"] != w.saved["REFRESH2"] {
		return errors.New("the retried refresh returned a different refresh token")
	}
	w.note("It is the same refresh token that step 4 returned.")
	return nil
}

// verify verifies the access token as a resource server does, with a JWT library
// and the key set of the last response.
func (w *walker) verify() error {
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(w.last), &keys); err != nil {
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
	w.note("Signature, issuer, audience and expiry are valid (checked with github.com/go-jose/go-jose).")
	return nil
}

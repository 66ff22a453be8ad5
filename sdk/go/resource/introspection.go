package resource

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// maxIntrospection bounds the response about one token.
const maxIntrospection = 64 << 10

// introspector asks the issuer whether tokens are active (RFC 7662).
type introspector struct {
	*wire.Issuer
	wire.Credentials
	audience string
	cacheFor time.Duration // how long a positive answer is used
	log      *slog.Logger
}

// check implements revocationCheck.
func (i *introspector) check(ctx context.Context, t *Token, text string, now time.Time) error {
	if age := now.UnixNano() - t.confirmedActive.Load(); age >= 0 && age < int64(i.cacheFor) {
		return nil
	}
	return i.introspect(ctx, t, text, now)
}

// introspect asks the issuer regardless of earlier answers, and remembers when
// the token was last active.
func (i *introspector) introspect(ctx context.Context, t *Token, text string, now time.Time) error {
	answer, err := i.request(ctx, text)
	if err != nil {
		return err
	}
	if string(answer["active"]) != "true" {
		return fmt.Errorf("%w: introspection reports it inactive", latchkey.ErrInvalidToken)
	}
	if !i.describes(answer, t) {
		return fmt.Errorf("%w: the introspection response describes a different token", latchkey.ErrUnavailable)
	}
	if !confirmsACRTimes(answer, t) {
		return fmt.Errorf("%w: the issuer no longer confirms a class in its acr_times: refresh the token", latchkey.ErrInvalidToken)
	}
	t.confirmedActive.Store(now.UnixNano())
	return nil
}

// confirmsACRTimes reports whether the issuer still confirms every class in the
// token's acr_times. It does not if a trusted issuer that vouched for the user
// was disabled in the meantime; the app's next refresh yields a token with the
// remaining classes.
func confirmsACRTimes(answer map[string]json.RawMessage, t *Token) bool {
	if len(t.ACRTimes) == 0 {
		return true
	}
	var times map[string]numericDate
	if json.Unmarshal(answer["acr_times"], &times) != nil {
		return false
	}
	for class, at := range t.ACRTimes {
		if said, reached := times[class]; !reached || time.Time(said).Before(at) {
			return false
		}
	}
	return true
}

// describes reports whether a response is about the token.
func (i *introspector) describes(answer map[string]json.RawMessage, t *Token) bool {
	for name, want := range map[string]string{"iss": t.Issuer, "sub": t.Subject, "client_id": t.ClientID, "jti": t.ID, "sid": t.SessionID} {
		var said string
		if value := answer[name]; value != nil && json.Unmarshal(value, &said) != nil || said != want {
			return false
		}
	}
	var aud audience
	return json.Unmarshal(answer["aud"], &aud) == nil && slices.Contains(aud, i.audience)
}

// request sends the introspection request and returns the members of the
// response.
func (i *introspector) request(ctx context.Context, token string) (map[string]json.RawMessage, error) {
	m, err := i.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	if err := i.CheckEndpoint("introspection_endpoint", m.IntrospectionEndpoint); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wire.FetchTimeout)
	defer cancel()
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.IntrospectionEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, wire.Unavailable(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	i.Authenticate(r)
	answer, err := i.HTTPClient.Do(r)
	if err != nil {
		return nil, wire.Unavailable(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		err := fmt.Errorf("%w: unexpected response from introspection: status %d", latchkey.ErrUnavailable, answer.StatusCode)
		if answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden {
			i.log.ErrorContext(ctx, "latchkey: introspection failed: the issuer rejected ClientID and ClientSecret", "issuer", i.URL, "client", i.ID, "status", answer.StatusCode)
		}
		return nil, err
	}
	text, err := wire.ReadUpTo(answer.Body, maxIntrospection)
	var members map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(text, &members)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read the introspection response: %w", latchkey.ErrUnavailable, err)
	}
	return members, nil
}

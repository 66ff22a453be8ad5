package oauth

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/oauth/jws"
)

// Limits of a token, in bytes (R-AT-10). The claims that the server itself adds
// are bounded where they come from, to less than a payload holds.
const (
	maxClaims      = 4 << 10 // custom claims together, as JSON
	maxAccessToken = 6 << 10
	// maxPayload leaves room for the header and the longest signature, each
	// encoded as base64url like the payload.
	maxPayload = (maxAccessToken - 480) / 4 * 3
)

// userVariable returns the CEL variable `user`: the attributes and sub.
func userVariable(sub string, attributes map[string]any) map[string]any {
	user := map[string]any{}
	maps.Copy(user, attributes)
	user["sub"] = sub
	return user
}

// sessionVariable returns the CEL variable `session`: the attributes that the
// session was created with, its device, and its authentication.
func sessionVariable(t *Tenant, s *models.Session, states statement) map[string]any {
	device := t.device(s)
	v := map[string]any{"device": map[string]any{"name": device.Name, "user_agent": device.UserAgent, "ip": device.IP}}
	maps.Copy(v, s.Attributes) // a mapped attribute named device takes precedence
	amr := []any{}
	for _, method := range states.amr {
		amr = append(amr, method)
	}
	v["amr"], v["acr"], v["auth_time"], v["acr_times"] = amr, states.acr, states.authTime, states.times
	return v
}

// addCustomClaims evaluates the client's claims whenever a token is minted, so
// that a changed attribute takes effect at the next refresh. It rejects
// nothing: a claim that fails or exceeds the limits is left out, and leftOut
// gives the reason.
func addCustomClaims(b *expr.Budget, c *Client, s *models.Session, states statement, into map[string]any) (leftOut map[string]string) {
	if len(c.claims) == 0 {
		return nil
	}
	leftOut = map[string]string{}
	claims := c.claims.Evaluate(b, map[string]any{
		"user":    userVariable(s.Subject, c.tenant.activeAttributes(s.UserAttributes, s.AttributeSources)),
		"session": sessionVariable(c.tenant, s, states),
	}, func(name string, err error) { leftOut[name] = err.Error() })
	room := maxClaims
	if text, err := jws.EncodeJSON(into); err == nil {
		room = min(room, maxPayload-len(text))
	}
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		text, err := jws.EncodeJSON(claims[name])
		size := len(name) + len(text) + len(`"":,`)
		switch {
		case err != nil:
			leftOut[name] = err.Error()
		case size > room:
			leftOut[name] = "the custom claims would exceed 4 KiB, or the token 6 KiB"
		default:
			room -= size
			into[name] = claims[name]
		}
	}
	return leftOut
}

// noCustomClaims adds no claims. It is for tokens without a user, because
// custom claims describe a user.
func noCustomClaims(map[string]any) map[string]string { return nil }

// reportClaims records an event about claims that were left out. The token is
// already signed, so a failure to record the event is only logged.
func (s *Server) reportClaims(ctx context.Context, row *models.Session, now time.Time, leftOut map[string]string) {
	if len(leftOut) == 0 {
		return
	}
	e := row.Event(now, models.EventClaimLeftOut, map[string]any{"claims": slices.Sorted(maps.Keys(leftOut)), "generation": row.Refresh.Generation})
	e.Cause = leftOut
	if err := s.store.AddEvent(ctx, e, "generation"); err != nil {
		s.log.Error("cannot record an event", "error", err)
	}
}

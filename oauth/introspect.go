package oauth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// inactive is the whole response about a token that is not active for the
// caller (RFC 7662 §2.2).
var inactive = map[string]any{"active": false}

// Introspect serves {iss}/introspect (RFC 7662). The caller must be a
// confidential client.
func (s *Server) Introspect(w http.ResponseWriter, r *http.Request, call *Call) {
	s.endpoint(w, r, call, func(ctx context.Context) error {
		signed := wantsJWT(r)
		caller, err := s.authenticateCaller(ctx, call, r, signed)
		if err != nil {
			return err
		}
		token := r.PostForm.Get("token")
		if token == "" {
			return invalidRequest(ReasonParameterMissing, "token is required")
		}
		answer, err := s.introspect(ctx, caller, token, s.now())
		if err != nil {
			return err
		}
		if signed {
			return s.writeIntrospectionJWT(ctx, w, caller, answer)
		}
		writeJSON(w, http.StatusOK, answer)
		return nil
	})
}

// authenticateCaller authenticates a confidential client, which may introspect
// tokens of other clients. Other callers get 401, or 400 if they want a signed
// response (RFC 9701 §5).
func (s *Server) authenticateCaller(ctx context.Context, call *Call, r *http.Request, signed bool) (*Client, error) {
	client, err := s.authenticateClient(ctx, call, r, r.PostForm)
	if err == nil && client.Settings.Public() {
		err = invalidClient(errors.New("a public client may not introspect tokens or follow revocations"))
	}
	if err == nil || !signed {
		return client, err
	}
	e := asError(err)
	if e.Status == http.StatusUnauthorized {
		e.Status = http.StatusBadRequest
	}
	return nil, e
}

// introspect describes a token to a client. The text of a token shows its kind,
// so no hint is needed (RFC 7662 §2.1).
func (s *Server) introspect(ctx context.Context, caller *Client, token string, now time.Time) (map[string]any, error) {
	describe := s.describeAccess
	if strings.HasPrefix(token, "lk_") {
		describe = s.describeHandle
	}
	answer, err := describe(ctx, caller, token, now)
	switch {
	case errors.Is(err, keys.ErrUnknownToken), errors.Is(err, errNotAccessToken), errors.Is(err, models.ErrNotFound), err == nil && answer == nil:
		return inactive, nil
	default:
		return answer, err
	}
}

// describeAccess describes an access token. It returns nil if the token is
// inactive. The description of the user is that of the token, even after a
// step-up (R-IN-06).
func (s *Server) describeAccess(ctx context.Context, caller *Client, token string, now time.Time) (map[string]any, error) {
	o, err := s.verifyOwn(ctx, caller.tenant, token, now)
	if err != nil {
		return nil, err
	}
	if !caller.maySee(o) || !now.Before(o.exp) || !o.client.enabled() {
		return nil, nil
	}
	if active, err := s.isActive(ctx, o, now); err != nil || !active {
		return nil, err
	}
	o.claims["active"], o.claims["token_type"] = true, "Bearer"
	if o.claims["scope"] == nil {
		o.claims["scope"] = "" // a token without scope has an empty one
	}
	return o.claims, nil
}

// maySee reports whether the client may introspect the token: its own, one
// whose audience it is, or any if introspect is all.
func (c *Client) maySee(o *ownToken) bool {
	if c.Settings.Introspect == settings.IntrospectAll || o.client.ID == c.ID {
		return true
	}
	aud, _ := stringOrList(o.claims["aud"])
	return c.isIn(aud)
}

// isIn reports whether an audience contains the client's id or one of its
// resource_identifiers.
func (c *Client) isIn(audience []string) bool {
	return slices.ContainsFunc(audience, func(a string) bool {
		return a == c.ID || slices.Contains(c.Settings.ResourceIdentifiers, a)
	})
}

// describeHandle describes a refresh or session token to its own client only. A
// token that is not the current one of its session is inactive.
func (s *Server) describeHandle(ctx context.Context, caller *Client, token string, now time.Time) (map[string]any, error) {
	h, err := s.keys.ParseHandle(caller.TenantID, token)
	if err != nil {
		return nil, err
	}
	row, err := s.store.Session(ctx, caller.TenantID, h.Session)
	if err != nil || !caller.alive(row, now) || s.keys.Classify(row, h) != keys.Current {
		return nil, err
	}
	s.renewSessionToken(ctx, row, h)
	issued := row.CreatedAt
	if chain := keys.ChainOf(row, h.Kind); !chain.RotatedAt.IsZero() {
		issued = chain.RotatedAt
	}
	answer := map[string]any{
		"active": true, "iss": caller.tenant.Issuer, "sub": row.Subject, "aud": audienceClaim(row.Audience), "client_id": row.ClientID,
		"scope": strings.Join(row.Scope, " "), "jti": row.ID.String() + "." + strconv.FormatUint(uint64(h.Generation), 10), "sid": row.ID.String(),
		"iat": issued.Unix(), "exp": row.Lifetime().Expiry().Unix(),
		"token_type": "N_A", // RFC 8693 §2.2.1: not usable as an access token
	}
	caller.tenant.sessionAssurance(row).best().addTo(answer)
	return answer, nil
}

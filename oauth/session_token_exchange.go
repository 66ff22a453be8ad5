package oauth

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
)

// A session token is itself a subject token: while its session lives, it can be
// exchanged for new access tokens of the session. It does not rotate, so a copy
// of it works as well. For this reason only clients that authenticate may
// exchange one, and public clients that are configured to.

// sessionTokenExchange is an exchange of a session token that has been allowed
// but not carried out.
type sessionTokenExchange struct {
	*exchangeRequest
	presented keys.Handle
	row       *models.Session // as of the check
}

// badSessionToken returns the refusal of a session token. Its description is
// the same for every reason.
func badSessionToken(reason Reason, cause error) *Error {
	return badSubject(reason, "the session token is unknown or was replaced, or its session has ended").withCause(cause)
}

// exchangeSessionToken checks everything that can reject the exchange of a
// session token.
func (s *Server) exchangeSessionToken(ctx context.Context, call *Call, c *Client, request *exchangeRequest, token string, form url.Values) (issue, error) {
	switch {
	case c.Settings.Public() && !c.Settings.AllowPublicSessionToken:
		return nil, invalidRequest(ReasonClientNotAllowed, "A public client may exchange session tokens only if allow_public_session_token is set in its configuration")
	case form.Has("latchkey_session_token"):
		return nil, invalidRequest(ReasonParameterUnsupported, "latchkey_session_token requires a client token as subject_token, not a session token")
	case request.issuedType == tokenTypeSession:
		return nil, invalidRequest(ReasonParameterUnsupported, "requested_token_type must be an access token type when subject_token is a session token")
	}
	x := &sessionTokenExchange{exchangeRequest: request}
	var err error
	if x.presented, err = s.keys.ParseHandle(c.TenantID, token); err != nil || x.presented.Kind != keys.SessionToken {
		return nil, badSessionToken(ReasonSessionTokenUnknown, keys.ErrUnknownToken)
	}
	if x.row, err = s.sessionOfToken(ctx, c, x.presented); err != nil {
		return nil, err
	}
	if x.targets, err = narrowTargets(c, x.row.Audience, form); err != nil {
		return nil, err
	}
	if x.scope, err = narrowScope(c, x.row.Scope, form.Get("scope")); err != nil {
		return nil, err
	}
	if x.stated, err = s.checkDemand(c, x.demand, x.row, s.now()); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (tokenResponse, error) { return s.issueForSessionToken(ctx, call, c, x) }, nil
}

// sessionOfToken returns the live session of a session token.
func (s *Server) sessionOfToken(ctx context.Context, c *Client, h keys.Handle) (*models.Session, error) {
	row, err := s.store.Session(ctx, c.TenantID, h.Session)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return nil, badSessionToken(ReasonSessionTokenUnknown, err)
	case err != nil:
		return nil, err
	case !c.alive(row, s.now()) || s.keys.Classify(row, h) != keys.Current:
		reason, why := s.sessionTokenReason(c, row, h, s.now())
		return nil, badSessionToken(reason, errors.New("the session has ended or belongs to another client, or the session token was replaced")).withEndReason(why)
	}
	return row, nil
}

// issueForSessionToken extends the session's idle expiry and signs an access
// token. The response has no refresh token, because the session token takes its
// place.
func (s *Server) issueForSessionToken(ctx context.Context, call *Call, c *Client, x *sessionTokenExchange) (tokenResponse, error) {
	release, err := s.tokenSlots.acquire(ctx)
	if err != nil {
		return tokenResponse{}, err
	}
	defer release()
	now := s.now()
	if _, err := c.tenant.ring.Active(now); err != nil {
		return tokenResponse{}, err
	}
	row, err := s.touch(ctx, call, c, x, now)
	if err != nil {
		return tokenResponse{}, err
	}
	s.renewSessionToken(ctx, row, x.presented)
	call.SessionID = row.ID.String()
	access, err := s.mintSession(c, row, x.stated, x.targets, x.scope, now)
	if err != nil {
		return tokenResponse{}, err
	}
	s.reportClaims(ctx, row, now, access.leftOut)
	answer := access.response(x.scope)
	answer.IssuedTokenType = x.issuedType
	answer.setSession(c, row, row.Refresh.Generation)
	return answer, nil
}

// touch records the use of the session. If the digest of its token has moved to
// a later root secret in the meantime, the row is read again rather than the
// request rejected.
func (s *Server) touch(ctx context.Context, call *Call, c *Client, x *sessionTokenExchange, now time.Time) (*models.Session, error) {
	row := x.row
	agent, ip := call.device()
	for range 3 {
		touched, err := s.store.TouchSession(ctx, models.Touch{
			Tenant: c.TenantID, Client: c.ID, ID: row.ID, Digest: row.SessionToken.Digest, At: now,
			IdleExpiry: c.Settings.Policy().IdleExpiry(now), ValidFrom: c.validFrom(), UserAgent: agent, IP: ip,
		})
		if !errors.Is(err, models.ErrNotFound) {
			return touched, err
		}
		before := row.SessionToken.Digest
		if row, err = s.sessionOfToken(ctx, c, x.presented); err != nil {
			return nil, err
		}
		if keys.EqualDigests(before, row.SessionToken.Digest) {
			return nil, badSessionToken(ReasonSessionEnded, errors.New("the session is no longer permitted"))
		}
	}
	return nil, unavailable(errors.New("the session changed during each of three attempts"))
}

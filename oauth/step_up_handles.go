package oauth

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/session"
)

// A step-up replaces both handles of its session, so that copies that were made
// before are not stepped up with it. The presented handle advances along its
// chain. The other handle, which the server has not seen, is replaced by a MAC
// over the client token and the secret of the presented handle: the same
// request returns it again, but it cannot be derived from the database and the
// root secret. So is a presented session token of an earlier root secret, so
// that the same request returns it again after that root is removed.

// findRepetition reports whether the request repeats a step-up that was carried
// out but whose response was lost. The client token of such a request has been
// spent and may have expired. A request that is not a repetition is handled as
// usual.
func (s *Server) findRepetition(ctx context.Context, c *Client, x *exchangeRequest, form url.Values) (bool, error) {
	named, err := s.readStepUp(ctx, c, form.Get("latchkey_session_token"))
	if err != nil {
		return false, nil // the request is rejected later
	}
	row, err := s.store.SessionWithHistory(ctx, c.TenantID, named.id)
	if errors.Is(err, models.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	digest := keys.ClientTokenDigest(form.Get("subject_token"))
	if !row.History.StepUp.HasToken(keys.StoredClientToken(named.presented, digest)) || !c.alive(row, s.now()) {
		return false, nil
	}
	first := digest
	if named.presented.Kind != 0 {
		first = row.History.StepUp.FirstToken()
	}
	made, ok := s.keys.StepUpHandles(row, named.presented, first)
	if !ok {
		return false, nil
	}
	if permitted, err := s.store.Permitted(ctx, row.ID); err != nil || !permitted {
		return false, err
	}
	if x.targets, err = narrowTargets(c, row.Audience, form); err != nil {
		return true, err
	}
	if x.scope, err = narrowScope(c, row.Scope, form.Get("scope")); err != nil {
		return true, err
	}
	named.row, named.handles = row, made
	x.stepUp = named
	return true, nil
}

// repeatStepUp returns the response to a repetition. It writes nothing, so no
// deadline moves.
func (s *Server) repeatStepUp(ctx context.Context, call *Call, c *Client, x *exchangeRequest) (tokenResponse, error) {
	release, err := s.tokenSlots.acquire(ctx)
	if err != nil {
		return tokenResponse{}, err
	}
	defer release()
	now := s.now()
	stated, err := s.checkDemand(c, x.demand, x.stepUp.row, now)
	if err != nil {
		// max_age was met when the step-up was carried out, and auth_time shows
		// how long ago. The demanded class must be met by this response too.
		stated, err = s.checkDemand(c, session.Demand{ACR: x.demand.ACR}, x.stepUp.row, now)
	}
	if err != nil {
		return tokenResponse{}, err
	}
	access, err := s.mintSession(c, x.stepUp.row, stated, x.targets, x.scope, now)
	if err != nil {
		return tokenResponse{}, err
	}
	return s.stepUpResponse(ctx, call, c, x, x.stepUp.row, access, now), nil
}

// stepUpResponse returns the response to a step-up with both handles of the
// session.
func (s *Server) stepUpResponse(ctx context.Context, call *Call, c *Client, x *exchangeRequest, row *models.Session, access minted, now time.Time) tokenResponse {
	call.SessionID = row.ID.String()
	s.reportClaims(ctx, row, now, access.leftOut)
	answer := access.response(x.scope)
	answer.IssuedTokenType = x.issuedType
	answer.setSession(c, row, row.Refresh.Generation)
	if h := x.stepUp.handles.Refresh; h.Kind != 0 {
		answer.RefreshToken = s.keys.Encode(c.TenantID, h)
	}
	if h := x.stepUp.handles.Session; h.Kind != 0 {
		answer.SessionToken = s.keys.Encode(c.TenantID, h)
	}
	return answer
}

// moveHandles replaces the handles of the locked row and returns the new ones.
// Within the retry window of an earlier step-up with the same handle, it
// changes nothing: both step-ups count, and both return the handles that the
// first one made.
func (s *Server) moveHandles(row *models.Session, c *Client, x *exchangeRequest, call *Call, now time.Time) (made keys.Handles, events []models.Event, err error) {
	presented, up := x.stepUp.presented, &row.History.StepUp
	from := presented
	if presented.Kind != 0 {
		facts, derivable := s.stepUpFacts(call, c, row, presented)
		outcome := session.DecideRefresh(now, facts)
		if again, ok := s.keys.StepUpHandles(row, presented, up.FirstToken()); ok && derivable && session.InRetryWindow(now, facts) {
			up.AddToken(keys.StoredClientToken(presented, x.stepUp.clientToken))
			return again, nil, nil
		}
		switch {
		case !derivable && s.keys.Classify(row, presented) == keys.Current:
		case outcome == session.RefreshRotate, outcome == session.RefreshRecover:
		case outcome == session.RefreshRetry:
			_, from = s.keys.Predecessor(row, presented)
		case outcome == session.RefreshRetryLate:
			_, from = s.keys.Predecessor(row, presented)
			events = s.recordLateRetry(row, call, facts, now)
		default:
			return made, nil, &chainRefused{*row, outcome}
		}
	}
	made = s.replaceHandles(row, from, x.stepUp.clientToken, now)
	up.Tokens = keys.StoredClientToken(from, x.stepUp.clientToken)
	return made, events, nil
}

// stepUpFacts returns the facts about a presented handle. derivable reports
// whether the handle's root secret is still configured: a session token may
// outlive it.
func (s *Server) stepUpFacts(call *Call, c *Client, row *models.Session, presented keys.Handle) (facts session.RefreshFacts, derivable bool) {
	if !s.keys.Accepts(int64(presented.Version)) {
		return session.RefreshFacts{}, false
	}
	facts, _ = s.chainFacts(call, c, row, presented)
	facts.Permitted = true // the statement that locked the row has checked it
	return facts, true
}

// recordLateRetry records in the row that a step-up has answered a used refresh
// token late.
func (s *Server) recordLateRetry(row *models.Session, call *Call, f session.RefreshFacts, now time.Time) []models.Event {
	next := f.LastLate.Next(now, row.Refresh.Generation, f.ContactSince)
	first := next.Generation != f.LastLate.Generation
	row.History.LateRetry = next
	s.logLateRetry(call, row, next)
	if !first {
		return nil
	}
	return []models.Event{row.Event(now, models.EventRefreshRetriedLate, lateRetryDetails(call, row))}
}

// replaceHandles advances the chain of the presented handle to its successor,
// and replaces the other handle by one that is derived from the client token. A
// presented session token of an earlier root is replaced in this way too.
func (s *Server) replaceHandles(row *models.Session, presented keys.Handle, clientToken []byte, now time.Time) (made keys.Handles) {
	up, issuing := &row.History.StepUp, s.keys.Issuing()
	up.Before, row.History.PreviousRoot = row.Assurance(), 0
	for _, kind := range []keys.Kind{keys.RefreshToken, keys.SessionToken} {
		chain := keys.ChainOf(row, kind)
		if len(chain.Digest) == 0 {
			continue
		}
		var next keys.Handle
		if kind == presented.Kind && s.keys.FollowsInChain(presented) {
			next = s.keys.Successor(row.TenantID, presented)
		} else {
			next = s.keys.DeriveHandle(row.TenantID, kind, row.ID, chain.Generation+1, issuing, clientToken, presented)
		}
		switch {
		case kind != keys.RefreshToken:
		case kind == presented.Kind:
			row.History.PreviousRoot = presented.Version
		default:
			up.Superseded = up.Superseded.Add(chain.Generation)
		}
		*chain = s.keys.Chain(row.TenantID, next)
		chain.RotatedAt = now
		*made.Of(kind) = next
	}
	if len(row.Refresh.Digest) == 0 {
		row.Refresh.Generation++ // latchkey_generation increases even without a refresh token
	}
	up.Generation = row.Refresh.Generation
	return made
}

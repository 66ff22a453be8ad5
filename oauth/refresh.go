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

// refreshRequest is a refresh that has been allowed but not carried out.
type refreshRequest struct {
	presented keys.Handle
	form      url.Values
	demand    session.Demand
	met       bool          // whether the demand was met before the token was spent
	stated    session.Proof // the class that met it, which the access token states
}

// conditional reports whether the request may be rejected because of what it
// wants of the session. In that case the row is read first, so that a rejection
// does not spend the token.
func (r *refreshRequest) conditional() bool {
	return r.form.Has("scope") || r.form.Has("resource") || r.form.Has("audience") || !r.demand.None()
}

// refresh is the grant that rotates the refresh token of a session (RFC 6749
// §6). It checks the form and the tag of the token, and every condition that
// can be checked without spending it.
func (s *Server) refresh(ctx context.Context, call *Call, c *Client, form url.Values) (issue, error) {
	r := &refreshRequest{form: form}
	text := form.Get("refresh_token")
	if text == "" {
		return nil, invalidRequest(ReasonParameterMissing, "refresh_token is required")
	}
	var err error
	if r.presented, err = s.keys.ParseHandle(c.TenantID, text); err != nil {
		return nil, invalidGrant(ReasonRefreshUnknown, err)
	}
	if r.presented.Kind != keys.RefreshToken {
		return nil, invalidGrant(ReasonRefreshUnknown, keys.ErrUnknownToken)
	}
	call.SessionID = r.presented.Session.String()
	if r.demand, err = readDemand(form); err != nil {
		return nil, err
	}
	if r.conditional() {
		if err := s.checkConditions(ctx, call, c, r); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) (tokenResponse, error) { return s.issueRefreshed(ctx, call, c, r) }, nil
}

// checkConditions rejects a scope or target that the session does not have, and
// an unmet demand, without spending the token. It checks them only for a token
// that would be answered. Any other token is rejected for its own fault, which
// reveals nothing about the session.
func (s *Server) checkConditions(ctx context.Context, call *Call, c *Client, r *refreshRequest) error {
	row, err := s.store.SessionWithHistory(ctx, c.TenantID, r.presented.Session)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return invalidGrant(ReasonRefreshUnknown, err)
	case err != nil:
		return err
	}
	now := s.now()
	if !c.alive(row, now) || s.keys.Classify(row, r.presented) == keys.Forged {
		return nil
	}
	facts, _ := s.chainFacts(call, c, row, r.presented)
	facts.Permitted = true // the statement that spends the token checks it exactly
	if !session.DecideRefresh(now, facts).IssuesTokens() {
		return nil
	}
	if _, err := narrowTargets(c, row.Audience, r.form); err != nil {
		return err
	}
	if _, err = narrowScope(c, row.Scope, r.form.Get("scope")); err != nil {
		return err
	}
	r.stated, err = s.checkDemand(c, r.demand, row, now)
	r.met = err == nil && !r.demand.None()
	return err
}

// issueRefreshed rotates the chain in one statement and signs. Every check that
// can refuse runs before the statement, except one: if the client has since lost
// all of the session's audiences, the token has been spent, and a retry returns
// its successor as after a lost response.
func (s *Server) issueRefreshed(ctx context.Context, call *Call, c *Client, r *refreshRequest) (tokenResponse, error) {
	release, err := s.tokenSlots.acquire(ctx)
	if err != nil {
		return tokenResponse{}, err
	}
	defer release()
	now := s.now()
	if _, err := c.tenant.ring.Active(now); err != nil {
		return tokenResponse{}, err
	}
	row, next, err := s.rotate(ctx, call, c, r.presented, now)
	if err != nil {
		return tokenResponse{}, err
	}
	targets, err := narrowTargets(c, row.Audience, r.form)
	if err != nil {
		return tokenResponse{}, err
	}
	scope, err := narrowScope(c, row.Scope, r.form.Get("scope"))
	if err != nil {
		return tokenResponse{}, err
	}
	stated := r.stated
	if !r.met {
		if stated, err = s.checkDemand(c, r.demand, row, now); err != nil {
			return tokenResponse{}, err // the row changed since it was first read; a retry recovers the token
		}
	}
	access, err := s.mintSession(c, row, stated, targets, scope, now)
	if err != nil {
		return tokenResponse{}, err
	}
	s.reportClaims(ctx, row, now, access.leftOut)
	answer := access.response(scope)
	if next.Kind == 0 {
		answer.setSession(c, row, r.presented.Generation)
		return answer, nil
	}
	answer.RefreshToken = s.keys.Encode(c.TenantID, next)
	answer.setSession(c, row, next.Generation)
	return answer, nil
}

// rotate rotates the chain in one statement. If that matches no row, it carries
// out the decision of session.DecideRefresh. It returns the session and the
// refresh token to return; the zero handle means that there is none.
func (s *Server) rotate(ctx context.Context, call *Call, c *Client, presented keys.Handle, now time.Time) (*models.Session, keys.Handle, error) {
	next := s.keys.Successor(c.TenantID, presented)
	agent, ip := call.device()
	step := models.Rotation{
		Tenant: c.TenantID, Client: c.ID, ID: presented.Session,
		From: presented.Generation, Presented: s.keys.Digest(presented, presented.Version), PresentedRoot: presented.Version,
		To: s.keys.Chain(c.TenantID, next), IdleExpiry: c.Settings.Policy().IdleExpiry(now),
		ValidFrom: c.validFrom(), UserAgent: agent, IP: ip,
	}
	step.To.RotatedAt = now
	// If the row changes between the statement and the read, the loop starts
	// again. A row that changes more than twice is under a storm of refreshes
	// by other requests.
	for range 3 {
		row, err := s.store.RotateSession(ctx, step)
		if err == nil {
			return row, next, nil
		}
		if !errors.Is(err, models.ErrNotFound) {
			return nil, keys.Handle{}, err
		}
		row, err = s.store.SessionWithHistory(ctx, c.TenantID, presented.Session)
		if errors.Is(err, models.ErrNotFound) {
			return nil, keys.Handle{}, invalidGrant(ReasonRefreshUnknown, err)
		}
		if err != nil {
			return nil, keys.Handle{}, err
		}
		facts, successor, err := s.facts(ctx, call, c, row, presented)
		if err != nil {
			return nil, keys.Handle{}, err
		}
		switch outcome := session.DecideRefresh(now, facts); outcome {
		case session.RefreshRetry:
			call.Retry = "retried"
			return row, successor, s.recordRetry(ctx, call, row, now)
		case session.RefreshRetryLate:
			recorded, err := s.retryLate(ctx, call, row, facts, now)
			if err != nil || recorded {
				call.Retry = "retried_late"
				return row, successor, err
			}
		case session.RefreshBeforeStepUp:
			if before := row.History.StepUp.Before; before != nil {
				return row.WithAssurance(before), keys.Handle{}, nil
			}
			return nil, keys.Handle{}, s.refuseRefresh(ctx, call, row, presented, session.RefreshSuperseded, now)
		case session.RefreshRecover:
			step.Recover, step.From, step.Presented = true, row.Refresh.Generation, row.Refresh.Next
		case session.RefreshRotate:
			step.Recover, step.From, step.Presented = false, row.Refresh.Generation, row.Refresh.Digest
		default:
			return nil, keys.Handle{}, s.refuseRefresh(ctx, call, row, presented, outcome, now)
		}
	}
	return nil, keys.Handle{}, unavailable(errors.New("the session changed during each of three attempts"))
}

// facts collects what the decision depends on.
func (s *Server) facts(ctx context.Context, call *Call, c *Client, row *models.Session, presented keys.Handle) (session.RefreshFacts, keys.Handle, error) {
	f, successor := s.chainFacts(call, c, row, presented)
	if row.CreatedAt.Before(c.validFrom()) {
		return f, successor, nil
	}
	var err error
	f.Permitted, err = s.store.Permitted(ctx, row.ID)
	return f, successor, err
}

// chainFacts compares a handle with its chain. The successor is derived under
// the row's root secret, so that a retry after a change of the root secret
// returns the same bytes.
func (s *Server) chainFacts(call *Call, c *Client, row *models.Session, presented keys.Handle) (session.RefreshFacts, keys.Handle) {
	chain := keys.ChainOf(row, presented.Kind)
	successor := s.keys.Successor(c.TenantID, presented)
	successor.Version = chain.RootVersion
	policy, refresh := c.Settings.Policy(), presented.Kind == keys.RefreshToken
	return session.RefreshFacts{
		Session: row.Lifetime(), Generation: chain.Generation, RotatedAt: chain.RotatedAt, Presented: presented.Generation,
		SameClient:         row.ClientID == c.ID,
		IsCurrent:          keys.EqualDigests(s.keys.Digest(presented, chain.RootVersion), chain.Digest),
		IsNext:             keys.EqualDigests(s.keys.Digest(presented, chain.RootVersion), chain.Next),
		SuccessorIsCurrent: keys.EqualDigests(s.keys.Digest(successor, chain.RootVersion), chain.Digest),
		Grace:              policy.RefreshGrace,
		ContactSince:       s.store.ContactSince(),
		ByStepUp:           !refresh || row.History.StepUp.Generation == chain.Generation && chain.Generation > 0,
		Superseded:         refresh && row.History.StepUp.Superseded.Has(presented.Generation),
		LateRetry:          policy.LateRetry && refresh,
		LastLate:           row.History.LateRetry,
		OtherDevice:        call.otherDevice(row),
	}, successor
}

// refuseRefresh records what the outcome requires and commits it, and then
// returns the refusal.
func (s *Server) refuseRefresh(ctx context.Context, call *Call, row *models.Session, presented keys.Handle, outcome session.RefreshOutcome, now time.Time) error {
	details := call.withDevice(map[string]any{"generation": presented.Generation, "current_generation": row.Refresh.Generation}, row)
	var err error
	switch outcome {
	case session.RefreshReuse:
		err = s.store.EndSession(ctx, row, now, session.ReuseDetected, row.Event(now, models.EventRefreshReuse, details))
	case session.RefreshBehind:
		err = s.store.EndSession(ctx, row, now, session.Inconsistent, row.Event(now, models.EventGenerationLost, details))
	case session.RefreshDuplicate:
		err = s.store.AddEvent(ctx, row.Event(now, models.EventRefreshDuplicate, details), "generation")
	case session.RefreshMismatch:
		err = s.store.AddEvent(ctx, row.Event(now, models.EventChainMismatch, details), "generation")
	}
	if err != nil {
		return err
	}
	return s.refreshError(call.Client, row, presented, outcome, now)
}

// recordRetry records a retry from elsewhere. Two parties who share a stolen
// token can remain undetected only by answering each other within the retry
// window. The third generation in a row that is retried from elsewhere
// therefore causes an event.
func (s *Server) recordRetry(ctx context.Context, call *Call, row *models.Session, now time.Time) error {
	if !call.fromElsewhere(row) {
		return nil
	}
	return s.store.NoteSharedRefresh(ctx, row, now, call.withDevice(map[string]any{"generation": row.Refresh.Generation}, row))
}

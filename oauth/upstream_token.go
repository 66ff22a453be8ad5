package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/issuerkeys"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/settings"
)

// upstreamToken is a verified token by which the identity provider of a trusted
// issuer ends sessions. It is never a client token.
type upstreamToken struct {
	entries []*issuerEntry // those that it is from; several may have one issuer
	claims  map[string]any
	spent   models.SpentToken
}

// upstreamPurpose is what one endpoint accepts.
type upstreamPurpose struct {
	name     string // separates the jti of different purposes
	setting  string // that allows it, for the log
	allows   func(settings.IssuerSettings) bool
	hasTyp   func(e *issuerEntry, typ string) bool
	typ      string                                   // expected, for the log
	audience func(t *Tenant, e *issuerEntry) []string // every aud must be one of them
	oneAud   bool                                     // aud must be a single value
	times    func(e *issuerEntry, at tokenTimes, now time.Time) (expiresAt time.Time, fault *tokenFault)
}

// tokenTimes are the times of a token. Exp is zero if it has none.
type tokenTimes struct{ iat, exp time.Time }

// tokenFault is why an upstreamToken was rejected. Each endpoint has its own form
// of error.
type tokenFault struct {
	kind               faultKind
	why                string
	cause              error
	expected, received string
}

// faultKind is what a fault is about.
type faultKind int

const (
	faultForm faultKind = iota
	faultIssuer
	faultAudience
	faultKey
)

// Error implements error.
func (f *tokenFault) Error() string { return f.why }

// Unwrap implements errors.Unwrap.
func (f *tokenFault) Unwrap() error { return f.cause }

// verifyUpstream verifies a token for one purpose. A *tokenFault says what is wrong
// with the token; any other error is about this server or the issuer's keys.
func (s *Server) verifyUpstream(ctx context.Context, t *Tenant, token string, p *upstreamPurpose) (*upstreamToken, error) {
	header, _, claims, err := parseSubject(token)
	if err != nil {
		return nil, &tokenFault{why: "it is not a well-formed JWT", cause: err}
	}
	candidates, err := t.chooseUpstream(claims, header, s.registry.base, p)
	if err != nil {
		return nil, err
	}
	now := s.now()
	u := &upstreamToken{claims: claims}
	var failure error
	for _, e := range candidates {
		expires, err := p.check(e, claims, now)
		if err == nil {
			err = e.verifyUpstreamSignature(ctx, token, header)
		}
		if err != nil {
			if failure == nil {
				failure = err
			}
			continue
		}
		u.entries = append(u.entries, e)
		if expires.After(u.spent.ExpiresAt) {
			u.spent.ExpiresAt = expires
		}
	}
	if len(u.entries) == 0 {
		return nil, failure
	}
	return u, u.setDigest(p)
}

// chooseUpstream returns the entries that the token may be from: iss, typ and aud
// match.
func (t *Tenant) chooseUpstream(claims map[string]any, h *jws.Header, base string, p *upstreamPurpose) (found []*issuerEntry, err error) {
	iss, _ := claims["iss"].(string)
	aud, audErr := stringOrList(claims["aud"])
	var known, typed bool
	var expected []string
	for _, e := range t.issuers {
		if iss == "" || ownIssuer(base, iss) || e.Settings.Issuer != iss || !e.Enabled() || !p.allows(e.Settings) {
			continue
		}
		known = true
		if !p.hasTyp(e, settings.BareType(h.Typ)) {
			continue
		}
		typed = true
		accepted := p.audience(t, e)
		expected = append(expected, accepted...)
		if audErr == nil && len(aud) > 0 && (len(aud) == 1 || !p.oneAud) && subset(aud, accepted) {
			found = append(found, e)
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case typed:
		return nil, &tokenFault{kind: faultAudience, why: "aud does not match", expected: strings.Join(expected, " "), received: strings.Join(aud, " ")}
	case known:
		return nil, &tokenFault{why: "typ in its header does not match", expected: p.typ, received: h.Typ}
	case t.unusable["issuer "+iss]:
		return nil, errors.New("this node cannot use the trusted issuer's configuration")
	default:
		return nil, &tokenFault{kind: faultIssuer, why: "iss is not a trusted issuer of this tenant with " + p.setting, received: iss}
	}
}

// check checks the times of the token for one entry, and returns when it can no
// longer be accepted.
func (p *upstreamPurpose) check(e *issuerEntry, claims map[string]any, now time.Time) (time.Time, error) {
	iat, hasIat, err1 := numericDate(claims["iat"])
	exp, _, err2 := numericDate(claims["exp"])
	nbf, hasNbf, err3 := numericDate(claims["nbf"])
	switch {
	case errors.Join(err1, err2, err3) != nil:
		return time.Time{}, &tokenFault{why: "exp, iat and nbf must be numbers of seconds since 1970"}
	case !hasIat:
		return time.Time{}, &tokenFault{why: "iat is required"}
	case iat.After(now.Add(e.leeway())) || hasNbf && nbf.After(now.Add(e.leeway())):
		return time.Time{}, &tokenFault{why: "iat or nbf is in the future; check the clock of the issuer", expected: "at most " + timestamp(now.Add(e.leeway())), received: timestamp(iat)}
	case !exp.IsZero() && !now.Before(exp.Add(e.leeway())):
		return time.Time{}, &tokenFault{why: "exp has passed", expected: "after " + timestamp(now.Add(-e.leeway())), received: timestamp(exp)}
	}
	expires, fault := p.times(e, tokenTimes{iat, exp}, now)
	if fault != nil {
		return time.Time{}, fault
	}
	return expires.Add(settings.MaxLeeway + time.Minute), nil // long enough even if the entry gets more leeway later
}

// verifyUpstreamSignature is verifySignature with its refusals as a *tokenFault.
func (e *issuerEntry) verifyUpstreamSignature(ctx context.Context, token string, h *jws.Header) error {
	err := e.verifySignature(ctx, token, h)
	var refused *Error
	if errors.As(err, &refused) && !errors.Is(err, issuerkeys.ErrUnavailable) && !errors.Is(err, issuerkeys.ErrMisconfigured) {
		return &tokenFault{kind: faultKey, why: strings.TrimPrefix(refused.Description, subjectRejected), cause: refused.Cause, expected: refused.Expected, received: refused.Received}
	}
	return err
}

// setDigest sets the digest by which the token can be used only once. A client
// token, or a token for another purpose, with the same jti has another digest.
func (u *upstreamToken) setDigest(p *upstreamPurpose) error {
	jti, _ := u.claims["jti"].(string)
	if jti == "" || len(jti) > 1024 {
		return &tokenFault{why: "jti must be a string of 1 to 1024 bytes"}
	}
	purpose := sha256.Sum256([]byte(p.name))
	digest := sha256.Sum256(append(purpose[:], jti...))
	iat, _, _ := numericDate(u.claims["iat"])
	u.spent.Issuer, u.spent.Digest, u.spent.IssuedAt = u.entries[0].Settings.Issuer, digest[:], iat
	return nil
}

// mayEnd reports whether the entry may end sessions of a user: the user is in its
// own namespace.
func (t *Tenant) mayEnd(e *issuerEntry) func(sub string) bool {
	return func(sub string) bool {
		return strings.HasPrefix(sub, e.Settings.SubjectPrefix) && !t.clientIDs[sub] && e.Settings.SpeaksFor(sub, t.namespaces)
	}
}

// upstreamTarget is the user whom the identity provider knows by a sub. Users are
// recorded at their sign-ins; before the entry was allowed to revoke, they were
// not, so the subject expression is evaluated too where it needs no other claim.
func (t *Tenant) upstreamTarget(e *issuerEntry, sub string) models.UpstreamTarget {
	target := models.UpstreamTarget{IssuerID: e.ID, UpstreamSub: sub, MayEnd: t.mayEnd(e)}
	mapped, err := e.subject.Evaluate(map[string]any{"token": map[string]any{"iss": e.Settings.Issuer, "sub": sub}})
	if text, ok := mapped.(string); err == nil && ok && text != "" {
		target.Subs = []string{e.Settings.SubjectPrefix + text}
	}
	return target
}

// ownSubject is the user with a sub of this server.
func (t *Tenant) ownSubject(e *issuerEntry, sub string) models.UpstreamTarget {
	return models.UpstreamTarget{IssuerID: e.ID, Subs: []string{sub}, MayEnd: t.mayEnd(e)}
}

// upstreamActor is how events name who ended a session. They never name the user.
func (u *upstreamToken) actor(via string) map[string]any {
	ids := make([]string, len(u.entries))
	for i, e := range u.entries {
		ids[i] = e.EntryID
	}
	return map[string]any{"name": "issuer " + strings.Join(ids, " "), "via": via}
}

// allowsUpstream reports whether any enabled entry of the tenant allows a purpose.
func (t *Tenant) allowsUpstream(p *upstreamPurpose) bool {
	return slices.ContainsFunc(t.issuers, func(e *issuerEntry) bool { return e.Enabled() && p.allows(e.Settings) })
}

// readUpstream reads by which names the identity provider may later end the
// session.
func (s *Subject) readUpstream() error {
	if !s.entry.Settings.KnowsUpstream() {
		return nil
	}
	s.upstream = &models.Upstream{}
	s.upstream.Sub, _ = s.claims["sub"].(string)
	if sid := s.claims["sid"]; sid != nil && s.entry.Settings.BackchannelLogout {
		if !upstreamID(sid) {
			return badClaims("sid must be a string of 1 to 255 bytes, because the trusted issuer has backchannel_logout")
		}
		s.upstream.SID = sid.(string)
	}
	return nil
}

// maxUpstreamSID limits the sid that is stored with a session.
const maxUpstreamSID = 255

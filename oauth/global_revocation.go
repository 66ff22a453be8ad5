package oauth

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/settings"
)

// revocationLife limits the life of a token for global token revocation, and how
// far its times are from now.
const revocationLife = 5 * time.Minute

// globalRevocation is the purpose of the tokens by which an identity provider calls
// {iss}/global-token-revocation.
var globalRevocation = &upstreamPurpose{
	name: "global-token-revocation", setting: "may_revoke", typ: "revocation_typ of the trusted issuer",
	allows: func(s settings.IssuerSettings) bool { return s.MayRevoke },
	hasTyp: func(e *issuerEntry, typ string) bool {
		return typ != "" && typ != "jwt" && typ == settings.BareType(e.Settings.RevocationTyp)
	},
	oneAud:   true,
	audience: func(t *Tenant, _ *issuerEntry) []string { return []string{t.Issuer + settings.GlobalRevocationPath} },
	// As exp has not passed and iat is not in the future, both are within 5 minutes of now.
	times: func(_ *issuerEntry, at tokenTimes, _ time.Time) (time.Time, *tokenFault) {
		switch {
		case at.exp.IsZero():
			return at.exp, &tokenFault{why: "exp is required"}
		case at.exp.Before(at.iat) || at.exp.Sub(at.iat) > revocationLife:
			return at.exp, &tokenFault{why: "exp - iat must be at most 5 minutes", received: at.exp.Sub(at.iat).String()}
		}
		return at.exp, nil
	},
}

// GlobalTokenRevocation serves POST {iss}/global-token-revocation
// (draft-parecki-oauth-global-token-revocation): the identity provider of a trusted
// issuer signs a user out everywhere.
func (s *Server) GlobalTokenRevocation(w http.ResponseWriter, r *http.Request, call *Call) {
	s.serve(w, r, call, func(ctx context.Context) error {
		if _, err := parseQuery(r); err != nil {
			return err
		}
		t := call.Tenant
		if !t.allowsUpstream(globalRevocation) {
			return notOffered("No trusted issuer of the tenant has may_revoke")
		}
		token, err := readBearer(r.Header)
		if err != nil {
			return err
		}
		u, err := s.verifyUpstream(ctx, t, token, globalRevocation)
		if err != nil {
			return s.refuseUpstream(call, err)
		}
		caller, _ := u.claims["sub"].(string)
		u.entries = slices.DeleteFunc(u.entries, func(e *issuerEntry) bool {
			return caller == "" || !slices.Contains(e.Settings.RevocationCallers, caller)
		})
		if len(u.entries) == 0 {
			return (&Error{Code: "access_denied", Reason: ReasonRevocationCaller, Status: http.StatusForbidden,
				Description: "sub of the token is not one of revocation_callers of the trusted issuer"}).compare("", caller)
		}
		id, err := readSubjectID(r)
		if err != nil {
			return err
		}
		targets, err := id.targets(t, u.entries)
		if err != nil {
			return err
		}
		actor := u.actor("global-token-revocation")
		actor["caller"] = caller
		_, err = s.store.RevokeUsers(ctx, models.UpstreamCall{Tenant: t.ID, Token: u.spent, Targets: targets, Actor: actor})
		switch {
		case errors.Is(err, models.ErrTokenSpent):
			return s.refuseUpstream(call, &tokenFault{why: "it has already been used; each request needs a token with a new jti"})
		case errors.Is(err, models.ErrNotFound):
			return unknownUser(err)
		case err != nil:
			return err
		}
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

// notOffered is the refusal of an endpoint that the tenant does not have.
func notOffered(why string) *Error {
	return &Error{Code: "not_found", Reason: ReasonNotFound, Status: http.StatusNotFound, Description: why}
}

// unknownUser is the refusal of a request about a user whom the trusted issuer may
// not end or who does not exist. It does not tell the two apart.
func unknownUser(cause error) *Error {
	return &Error{Code: "not_found", Reason: ReasonRevocationUser, Status: http.StatusNotFound,
		Description: "No user of the trusted issuer matches sub_id", Cause: cause}
}

// refuseUpstream returns the refusal of a bearer token, and counts it.
func (s *Server) refuseUpstream(call *Call, err error) error {
	var fault *tokenFault
	if !errors.As(err, &fault) {
		return err
	}
	if wait := s.failUpstream(call); wait > 0 {
		return tooManyFailures(wait)
	}
	return fault.bearer()
}

// failUpstream counts a rejected token of an identity provider, and returns how
// long its sender has to wait. A valid token always passes.
func (s *Server) failUpstream(call *Call) time.Duration {
	return s.throttle.fail(call.Tenant.ID, " identity provider", call.IP, s.now()) // no client has this id
}

// bearer returns the fault as the refusal of a bearer token (RFC 6750 §3.1).
func (f *tokenFault) bearer() *Error {
	e := &Error{Code: "invalid_token", Reason: ReasonRevocationToken, Status: http.StatusUnauthorized, Bearer: true,
		Description: "The token was rejected: " + f.why, Cause: f.cause}
	return e.compare(f.expected, f.received)
}

// subjectID is a subject identifier (RFC 9493).
type subjectID map[string]any

// readSubjectID reads the body of a request for global token revocation.
func readSubjectID(r *http.Request) (subjectID, error) {
	members, _, err := readJSON(r)
	if err != nil {
		return nil, err
	}
	id, ok := members["sub_id"].(map[string]any)
	if !ok {
		return nil, invalidRequest(ReasonParameterMissing, "sub_id is required and must be an object")
	}
	return id, nil
}

// readJSON reads a bounded body that is one JSON object without repeated members at any
// depth. It returns the text as well.
func readJSON(r *http.Request) (members map[string]any, body []byte, err error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(r.Header.Values("Content-Type")) > 1 || mediaType != "application/json" {
		return nil, nil, invalidRequest(ReasonRequestMalformed, "The body must be application/json, named by one Content-Type header")
	}
	if body, err = readBody(r); err != nil {
		return nil, nil, err
	}
	if err = jws.CheckObject(body); err == nil {
		members, err = models.ParseClaims(body)
	}
	if err != nil {
		return nil, nil, invalidRequest(ReasonRequestMalformed, "The body must be one JSON object in UTF-8 without repeated members").withCause(err)
	}
	return members, body, nil
}

// text returns a required member.
func (id subjectID) text(name string) (string, error) {
	text, ok := id[name].(string)
	if !ok || text == "" || len(text) > 1024 || malformed(text) {
		return "", invalidRequest(ReasonParameterInvalid, name+" of sub_id must be a string of 1 to 1024 bytes")
	}
	return text, nil
}

// targets returns the users that the entries may mean by the identifier.
func (id subjectID) targets(t *Tenant, entries []*issuerEntry) (targets []models.UpstreamTarget, err error) {
	switch format, _ := id["format"].(string); format {
	case "iss_sub":
		iss, err := id.text("iss")
		if err != nil {
			return nil, err
		}
		sub, err := id.text("sub")
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Settings.Issuer == iss {
				targets = append(targets, t.upstreamTarget(e, sub))
			}
		}
		if len(targets) == 0 {
			return nil, unknownUser(errors.New("iss of sub_id is not the trusted issuer that sent the request"))
		}
	case "opaque":
		sub, err := id.text("id")
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			targets = append(targets, t.ownSubject(e, sub))
		}
	case "email":
		email, err := id.text("email")
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if name := e.Settings.RevocationEmail; name != "" {
				targets = append(targets, models.UpstreamTarget{IssuerID: e.ID, Attribute: name, Value: email, MayEnd: t.mayEnd(e)})
			}
		}
		if len(targets) == 0 {
			return nil, invalidRequest(ReasonParameterUnsupported, "format email of sub_id requires revocation_email_attribute of the trusted issuer")
		}
	default:
		const expected = "iss_sub, opaque or email"
		return nil, invalidRequest(ReasonParameterUnsupported, "format of sub_id is not supported: expected "+expected).compare(expected, format)
	}
	return targets, nil
}

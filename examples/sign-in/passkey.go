package main

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/latchkey/latchkey/sdk/go/resource"
)

// newWebAuthn accepts passkeys of the origin's host that are stored with the user's
// name (so that the user types none) and verify the user by PIN or biometric.
func newWebAuthn(origin string) (*webauthn.WebAuthn, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return nil, err
	}
	return webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "Sign-in example", RPOrigins: []string{origin},
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
	})
}

// The methods of webauthn.User.

func (u *user) WebAuthnID() []byte                         { return []byte(u.id) }
func (u *user) WebAuthnName() string                       { return u.email }
func (u *user) WebAuthnDisplayName() string                { return u.email }
func (u *user) WebAuthnCredentials() []webauthn.Credential { return u.passkeys }

// addOptions starts to add a passkey to the signed-in user.
func (s *server) addOptions(w http.ResponseWriter, r *http.Request) {
	u := s.users.withID(resource.TokenFromContext(r.Context()).Subject)
	if u == nil {
		http.Error(w, "There is no such user.", http.StatusForbidden)
		return
	}
	known := webauthn.Credentials(u.passkeys).CredentialDescriptors()
	options, ceremony, err := s.webauthn.BeginRegistration(u, webauthn.WithExclusions(known))
	s.begin(w, options, ceremony, err)
}

// add stores the new passkey. FinishRegistration checks that the user is the one of
// addOptions.
func (s *server) add(w http.ResponseWriter, r *http.Request) {
	u := s.users.withID(resource.TokenFromContext(r.Context()).Subject)
	ceremony, ok := s.ceremony(r)
	if u == nil || !ok {
		http.Error(w, "Start again.", http.StatusBadRequest)
		return
	}
	passkey, err := s.webauthn.FinishRegistration(u, ceremony, r)
	if err != nil {
		http.Error(w, "The passkey was not added.", http.StatusBadRequest)
		return
	}
	s.users.savePasskey(u.id, *passkey)
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) passkeyOptions(w http.ResponseWriter, _ *http.Request) {
	options, ceremony, err := s.webauthn.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	s.begin(w, options, ceremony, err)
}

func (s *server) passkey(w http.ResponseWriter, r *http.Request) {
	ceremony, ok := s.ceremony(r)
	if !ok {
		http.Error(w, "Start again.", http.StatusBadRequest)
		return
	}
	found, passkey, err := s.webauthn.FinishPasskeyLogin(func(_, id []byte) (webauthn.User, error) {
		if u := s.users.withID(string(id)); u != nil {
			return u, nil
		}
		return nil, errors.New("no such user")
	}, ceremony, r)
	if err != nil || passkey.Authenticator.CloneWarning {
		http.Error(w, "The passkey was not accepted.", http.StatusUnauthorized)
		return
	}
	u := found.(*user)
	s.users.savePasskey(u.id, *passkey) // with the new signature counter
	// Without attestation nothing proves that the key is in hardware ("hwk").
	s.signIn(w, r, u, "swk")
}

// begin sends the options to the browser. What the response must match stays here,
// and a cookie binds it to the browser.
func (s *server) begin(w http.ResponseWriter, options any, ceremony *webauthn.SessionData, err error) {
	if err != nil {
		http.Error(w, "An internal error occurred.", http.StatusInternalServerError)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: "ceremony", Value: s.ceremonies.put(*ceremony), Path: "/passkey",
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: strings.HasPrefix(s.origin, "https:"),
	})
	answer(w, options)
}

func (s *server) ceremony(r *http.Request) (webauthn.SessionData, bool) {
	c, err := r.Cookie("ceremony")
	if err != nil {
		return webauthn.SessionData{}, false
	}
	return s.ceremonies.take(c.Value)
}

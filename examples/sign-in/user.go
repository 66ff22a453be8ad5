package main

import (
	"crypto/rand"
	"sync"

	"github.com/go-webauthn/webauthn/webauthn"
)

// user is a user of the app. The id is the user's sub at Latchkey and the user handle
// of the passkeys. It is random, and stays the same if the email address changes.
type user struct {
	id, email string
	password  []byte // salt and key
	passkeys  []webauthn.Credential
}

// users takes the place of a database table. Its methods return copies.
type users struct {
	mu   sync.Mutex
	byID map[string]user
}

func newUsers(email, password string) *users {
	u := user{id: rand.Text(), email: email, password: hashPassword(password)}
	return &users{byID: map[string]user{u.id: u}}
}

// withID returns a user, or nil if there is none.
func (s *users) withID(id string) *user {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.byID[id]; ok {
		return &u
	}
	return nil
}

// withEmail returns a user, or nil if there is none.
func (s *users) withEmail(email string) *user {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.byID {
		if u.email == email {
			return &u
		}
	}
	return nil
}

// savePasskey adds a passkey, or replaces the stored state of the same passkey.
func (s *users) savePasskey(id string, saved webauthn.Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.byID[id]
	if !ok {
		return
	}
	passkeys := []webauthn.Credential{saved}
	for _, p := range u.passkeys {
		if string(p.ID) != string(saved.ID) {
			passkeys = append(passkeys, p)
		}
	}
	u.passkeys = passkeys
	s.byID[id] = u
}

package main

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"

	"golang.org/x/crypto/argon2"
)

const saltSize = 16

// argon2id takes 19 MiB of memory: two passes and one thread, as OWASP recommends.
func argon2id(password string, salt []byte) []byte {
	return argon2.IDKey([]byte(password), salt, 2, 19<<10, 1, 32)
}

// hashPassword returns what to store of a password: a new salt and the key.
func hashPassword(password string) []byte {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	return append(salt, argon2id(password, salt)...)
}

func isPassword(hash []byte, password string) bool {
	return subtle.ConstantTimeCompare(hash[saltSize:], argon2id(password, hash[:saltSize])) == 1
}

// nobody is compared if there is no such user, so that the time of the response does
// not reveal who has an account.
var nobody = hashPassword(rand.Text())

func (s *server) password(w http.ResponseWriter, r *http.Request) {
	u, hash := s.users.withEmail(r.PostFormValue("email")), nobody
	if u != nil {
		hash = u.password
	}
	if !isPassword(hash, r.PostFormValue("password")) || u == nil {
		http.Error(w, "The email address or the password is wrong.", http.StatusUnauthorized)
		return
	}
	s.signIn(w, r, u, "pwd")
}

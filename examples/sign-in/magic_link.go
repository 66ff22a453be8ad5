package main

import "net/http"

// sendLink answers the same whether or not the user exists. A mail server belongs
// behind a queue: its response time would reveal the difference.
func (s *server) sendLink(w http.ResponseWriter, r *http.Request) {
	if u := s.users.withEmail(r.PostFormValue("email")); u != nil {
		// Browsers do not send the fragment. So the token is in no log, and a mail
		// scanner that opens the link does not use it up: the page sends it when the
		// user presses a button.
		s.mail(u.email, s.origin+"/#link="+s.links.put(u.id))
	}
	w.WriteHeader(http.StatusAccepted)
}

func (s *server) redeemLink(w http.ResponseWriter, r *http.Request) {
	id, _ := s.links.take(r.PostFormValue("token"))
	u := s.users.withID(id)
	if u == nil {
		http.Error(w, "The link has expired or was used before.", http.StatusUnauthorized)
		return
	}
	// RFC 8176 has no value for a mailbox. The default classes do not count "email".
	s.signIn(w, r, u, "email")
}

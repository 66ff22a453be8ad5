package testserver

import (
	"net/http/httptest"

	"github.com/latchkey/latchkey/handlers"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// serveAdmin serves the admin API on a listener of its own.
func (s *Server) serveAdmin(c handlers.Config) {
	s.t.Helper()
	var err error
	s.AdminHandler, err = handlers.NewAdmin(c)
	must(s.t, err)
	server := httptest.NewServer(s.AdminHandler)
	s.t.Cleanup(func() {
		server.CloseClientConnections() // a test may have left a stream open
		server.Close()
	})
	s.AdminURL = server.URL
}

// NewAdminKey stores an admin key, as the command does, and returns it with its row.
func (s *Server) NewAdminKey(spec oauth.AdminKeySpec) (key string, row models.AdminKey) {
	s.t.Helper()
	if faults := spec.Validate(s.Clock.Now()); len(faults) > 0 {
		s.t.Fatal(faults)
	}
	key, row = s.Keys.NewAdminKey()
	spec.Fill(&row)
	row.CreatedBy = "cli"
	must(s.t, s.Store.CreateAdminKey(s.t.Context(), &row, models.Actor{Name: "cli", Role: models.RoleMachine}))
	return key, row
}

package oauth

import (
	"context"
	"net/http"

	"github.com/latchkey/latchkey/oauth/expr"
)

// UserInfo serves {iss}/userinfo (OpenID Connect Core §5.3): the user of the
// bearer's session, and the custom claims that a token minted now would have.
func (s *Server) UserInfo(w http.ResponseWriter, r *http.Request, call *Call) {
	s.serve(w, r, call, func(ctx context.Context) error {
		who, err := s.authenticateBearer(ctx, call, r, s.now())
		if err != nil {
			return err
		}
		claims := map[string]any{"sub": who.own.Subject}
		addCustomClaims(expr.NewBudget(), who.client, who.own, who.tenant.sessionAssurance(who.own).best(), claims)
		writeJSON(w, http.StatusOK, claims)
		return nil
	})
}

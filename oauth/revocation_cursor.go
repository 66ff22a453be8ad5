package oauth

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
)

// cursor writes a position for a client: the epoch of the database, the
// moment, and a mark of what the client may see. Whoever may see something
// else now has missed it before.
func cursor(c *Client, at models.Position) string {
	return at.Epoch + "." + strconv.FormatInt(at.At.UnixMicro(), 10) + "." + c.view()
}

// parseCursor reads what cursor writes. The position of another view is none.
func parseCursor(c *Client, text string) (models.Position, error) {
	epoch, rest, _ := strings.Cut(text, ".")
	moment, view, whole := strings.Cut(rest, ".")
	micros, err := strconv.ParseInt(moment, 10, 64)
	switch {
	case err != nil || !whole || epoch == "":
		return models.Position{}, invalidRequest(ReasonParameterInvalid, "cursor is invalid; use the cursor from a previous response")
	case view != c.view():
		return models.Position{}, nil
	}
	return models.Position{Epoch: epoch, At: time.UnixMicro(micros).UTC()}, nil
}

// view is a short mark of whose revocations the client may see. All clients that
// see everything have one, so that they share what is encoded for them.
func (c *Client) view() string {
	sees := []any{c.TenantID}
	if c.Settings.Introspect != models.IntrospectAll {
		sees = append(sees, c.ID, c.Settings.ResourceIdentifiers)
	}
	text, err := json.Marshal(sees)
	if err != nil {
		return "" // strings always encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

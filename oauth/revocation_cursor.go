package oauth

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models/tail"
	"github.com/latchkey/latchkey/settings"
)

// cursor returns the wire form of a position for a client: the epoch of the
// database, the time, and the client's view. A client whose view has changed
// has missed revocations, so it cannot continue from an old position.
func cursor(c *Client, at tail.Position) string {
	return at.Epoch + "." + strconv.FormatInt(at.At.UnixMicro(), 10) + "." + c.view()
}

// parseCursor parses the result of cursor. For the position of another view it
// returns the zero position.
func parseCursor(c *Client, text string) (tail.Position, error) {
	epoch, rest, _ := strings.Cut(text, ".")
	moment, view, whole := strings.Cut(rest, ".")
	micros, err := strconv.ParseInt(moment, 10, 64)
	switch {
	case err != nil || !whole || epoch == "":
		return tail.Position{}, invalidRequest(ReasonParameterInvalid, "cursor is invalid; use the cursor from a previous response")
	case view != c.view():
		return tail.Position{}, nil
	}
	return tail.Position{Epoch: epoch, At: time.UnixMicro(micros).UTC()}, nil
}

// view returns a short digest of which revocations the client may see. All
// clients that may see everything have the same view and share what is encoded
// for it.
func (c *Client) view() string {
	scope := []any{c.TenantID}
	if c.Settings.Introspect != settings.IntrospectAll {
		scope = append(scope, c.ID, c.Settings.ResourceIdentifiers)
	}
	text, err := json.Marshal(scope)
	if err != nil {
		return "" // strings always encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

package console

import (
	"encoding/json"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
)

// sessionsEnding returns how many live sessions end if an object is suspended or
// removed, in words.
func (v *visit) sessionsEnding(ref models.Ref) (string, error) {
	dry, err := v.Admin.Suspend(v.ctx(), v.Caller, ref, []byte(`{"dry_run": true}`))
	switch {
	case err != nil:
		return "", err
	case !dry.Exists:
		return "", admin.ErrNotFound
	case dry.Sessions == nil: // counting took too long
		return "all its live sessions", nil
	}
	return liveSessions(*dry.Sessions), nil
}

// suspend suspends an object after the operator has confirmed it. The page first shows
// how many sessions end.
func (v *visit) suspend(ref models.Ref, c confirmation, done string) error {
	ending, err := v.sessionsEnding(ref)
	if err != nil {
		return err
	}
	c.Word, c.Reason, c.Button = ref.ID, true, "Suspend and end "+ending
	c.Text = append([]string{"This ends " + ending + " at once."}, c.Text...)
	if ok, err := v.confirmed(c, nil); !ok {
		return err
	}
	body, err := json.Marshal(map[string]string{"reason": v.form("reason")})
	if err != nil {
		return err
	}
	if _, err := v.Admin.Suspend(v.ctx(), v.Caller, ref, body); err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.redirect(c.Back, done)
}

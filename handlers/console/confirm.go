package console

import (
	"net/http"

	"github.com/latchkey/latchkey/handlers/admin"
)

// confirmation is the page before something that cannot be undone.
type confirmation struct {
	Heading    string
	Text       []string // what happens, such as how many sessions end
	Action     string   // the target of the form
	Fields     map[string]string
	What, Word string // what the operator must type, such as "the client's id"
	Button     string
	Back       string
	Reason     bool // ask for a reason
	ReasonText string

	Check, CheckText string // a choice: the name of its field and its label; empty: none
}

// confirmed reports whether the form repeats the word of the page. Otherwise it writes
// the page, and the caller returns its error. err is why an operation refused a form
// that was confirmed; nil: none has.
func (v *visit) confirmed(c confirmation, err error) (bool, error) {
	if c.Action == "" {
		c.Action = v.Path
	}
	c.ReasonText = v.form("reason")
	switch {
	case err != nil:
		return false, v.renderProblem("confirm", c.Heading, c, err)
	case v.g.Request.Method == http.MethodGet:
		return false, v.render("confirm", c.Heading, c)
	case v.form("confirm") != c.Word:
		p := &admin.Problem{Status: http.StatusBadRequest, Detail: "It was not confirmed.", Errors: []admin.Fault{{Parameter: "confirm", Detail: "must be " + c.Word}}}
		return false, v.renderStatus(p.Status, "confirm", c.Heading, c, p)
	}
	return true, nil
}

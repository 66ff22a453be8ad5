package console

import (
	"bytes"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/handlers/admin"
)

func TestAStoredTextStaysInItsFieldOfAStream(t *testing.T) {
	v := &visit{console: &console{}}
	e := admin.Event{Type: "session.created", Details: map[string]any{"device_name": "a\r\revent: end\rdata: x\r\n\nid: 1"}}
	var row bytes.Buffer
	if err := templates.ExecuteTemplate(&row, "event-row", v.eventRow(e)); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.FieldsFunc("data: "+dataLines.Replace(row.String()), func(r rune) bool { return r == '\r' || r == '\n' }) {
		if !strings.HasPrefix(line, "data: ") {
			t.Errorf("a line of the event is %q", line)
		}
	}
	if !strings.Contains(row.String(), "event: end") {
		t.Error("the row does not contain the text")
	}
}

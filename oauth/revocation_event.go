package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/models"
)

// snapshot sends a document whose lines are short however long it is.
func (s *stream) snapshot(known *models.Snapshot) error {
	head := headOf(s.call.Client, known)
	text, err := json.Marshal(head)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.w, "event: snapshot\nid: %s\ndata: %s,\"revoked\":[\n", head.Cursor, text[:len(text)-1])
	list := entries(s.call.Client, known.Revocations)
	for i, e := range list {
		comma := ","
		if i == len(list)-1 {
			comma = ""
		}
		if err := s.write("data: ", e, comma); err != nil {
			return err
		}
	}
	s.w.WriteString("data: ]}\n\n")
	return s.flush()
}

// batch sends what one look of the tail found. The id of each is the position
// before it: a reader that is cut off in the middle gets the whole once more.
func (s *stream) batch(b models.Batch) error {
	list := entries(s.call.Client, b.Revocations)
	for _, e := range list {
		fmt.Fprintf(s.w, "event: revoked\nid: %s\n", cursor(s.call.Client, b.Before))
		if err := s.write("data: ", e, "\n"); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return nil
	}
	return s.flush()
}

func (s *stream) write(before string, e revokedEntry, after string) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	s.w.WriteString(before)
	s.w.Write(text)
	_, err = s.w.WriteString(after + "\n") // the writer remembers the first error
	return err
}

// flush sends what is written. A stream that waits for news has no deadline.
func (s *stream) flush() error {
	if err := s.w.Flush(); err != nil {
		return err
	}
	if err := s.http.Flush(); err != nil {
		return err
	}
	return deadline(s.http, time.Time{})
}

// patientWriter gives every write its own deadline.
type patientWriter struct {
	http.ResponseWriter
	http *http.ResponseController
}

// Write implements io.Writer.
func (w patientWriter) Write(p []byte) (int, error) {
	if err := hurry(w.http); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// hurry bounds what is written next. A deadline is one of the machine's clock,
// whatever store time is.
func hurry(c *http.ResponseController) error { return deadline(c, time.Now().Add(streamPatience)) }

// deadline bounds writes, where there is a connection.
func deadline(c *http.ResponseController, at time.Time) error {
	if err := c.SetWriteDeadline(at); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
)

const (
	// MaxLine bounds a line of a revocation stream. A feed entry is far shorter.
	MaxLine = 64 << 10
	// maxEvent bounds an event. A snapshot has one line per entry.
	maxEvent = 64 << 20
)

// StreamEvent is an event or a comment of a stream.
type StreamEvent struct {
	Name    string // empty: this is a comment
	ID      string // the id of this event, or of the last one that had an id
	Data    []byte // valid until the next event is read
	Comment string
}

// EventReader reads server-sent events (WHATWG HTML §9.2.6).
type EventReader struct {
	lines *bufio.Scanner
	first bool
	cr    bool // the last line ended with CR, so an LF that follows belongs to it
	id    string
	last  string // the id at the end of the last event
	data  bytes.Buffer
}

// NewEventReader returns a reader of a stream whose lines have at most maxLine
// bytes.
func NewEventReader(from io.Reader, maxLine int) *EventReader {
	r := &EventReader{lines: bufio.NewScanner(from), first: true}
	r.lines.Buffer(nil, maxLine)
	r.lines.Split(r.split)
	return r
}

// LastID returns the id to resume after: that of the last complete event, also of
// one without data, which Next does not return.
func (r *EventReader) LastID() string { return r.last }

// Next returns the next event or comment. It returns io.EOF at the end of the
// stream, also when the end cuts an event off.
func (r *EventReader) Next() (*StreamEvent, error) {
	e := &StreamEvent{}
	r.data.Reset()
	some := false
	for r.lines.Scan() {
		line := r.lines.Text()
		if r.first {
			line, r.first = strings.TrimPrefix(line, "\ufeff"), false
		}
		if line == "" {
			r.last = r.id
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && some:
			if e.Name == "" {
				e.Name = "message"
			}
			e.ID, e.Data = r.id, bytes.TrimSuffix(r.data.Bytes(), []byte("\n"))
			return e, nil
		case line == "":
			e.Name = "" // an event without data is discarded
		case field == "" && !some && e.Name == "":
			return &StreamEvent{ID: r.id, Comment: value}, nil
		case field == "event":
			e.Name = value
		case field == "data":
			some = true
			if r.data.Len()+len(value) > maxEvent {
				return nil, fmt.Errorf("event longer than %d bytes", maxEvent)
			}
			r.data.WriteString(value)
			r.data.WriteByte('\n')
		case field == "id" && !strings.Contains(value, "\x00"):
			r.id = value
		}
	}
	if err := r.lines.Err(); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

// split splits lines at CR, LF or CR LF. It does not wait for the byte after a
// CR.
func (r *EventReader) split(data []byte, atEOF bool) (advance int, line []byte, err error) {
	skip := 0
	if r.cr && len(data) > 0 {
		if r.cr = false; data[0] == '\n' {
			skip = 1
		}
	}
	end := bytes.IndexAny(data[skip:], "\r\n")
	if end < 0 {
		if skip > 0 {
			return skip, nil, nil
		}
		return 0, nil, nil // an unfinished line at the end of the stream is discarded
	}
	end += skip
	r.cr = data[end] == '\r'
	return end + 1, data[skip:end], nil
}

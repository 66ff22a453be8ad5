package resource

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

const (
	// maxLine bounds a line of the stream: one entry is far shorter.
	maxLine = 64 << 10
	// maxEvent bounds an event: a snapshot has a line for each entry.
	maxEvent = 64 << 20
)

// streamEvent is an event of a stream, or a comment.
type streamEvent struct {
	name    string // empty: a comment
	id      string // of the last event that had one
	data    []byte // until the next event is read
	comment string
}

// eventReader reads server-sent events (WHATWG HTML §9.2.6).
type eventReader struct {
	lines *bufio.Scanner
	first bool
	cr    bool // the last line ended with CR: an LF after it is no line
	id    string
	data  bytes.Buffer
}

func newEventReader(from io.Reader) *eventReader {
	r := &eventReader{lines: bufio.NewScanner(from), first: true}
	r.lines.Buffer(nil, maxLine)
	r.lines.Split(r.split)
	return r
}

// next is the next event or comment. What the end of the stream cuts off is
// none: io.EOF.
func (r *eventReader) next() (*streamEvent, error) {
	e := &streamEvent{}
	r.data.Reset()
	some := false
	for r.lines.Scan() {
		line := r.lines.Text()
		if r.first {
			line, r.first = strings.TrimPrefix(line, "\ufeff"), false
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && some:
			if e.name == "" {
				e.name = "message"
			}
			e.id, e.data = r.id, bytes.TrimSuffix(r.data.Bytes(), []byte("\n"))
			return e, nil
		case line == "":
			e.name = "" // an event without data is none
		case field == "" && !some && e.name == "":
			return &streamEvent{id: r.id, comment: value}, nil
		case field == "event":
			e.name = value
		case field == "data":
			some = true
			if r.data.Len()+len(value) > maxEvent {
				return nil, errors.New("an event is too long")
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

// split ends lines at CR, LF or both, without waiting for what comes after.
func (r *eventReader) split(data []byte, atEOF bool) (advance int, line []byte, err error) {
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
		return 0, nil, nil // a line that the stream's end cuts off is none
	}
	end += skip
	r.cr = data[end] == '\r'
	return end + 1, data[skip:end], nil
}

package wire

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// events reads a stream to its end and returns it as text.
func events(from io.Reader) (list []string, err error) {
	r := NewEventReader(from, MaxLine)
	for {
		e, err := r.Next()
		if err != nil {
			return list, err
		}
		if e.Name == "" {
			list = append(list, fmt.Sprintf(":%s#%s", e.Comment, e.ID))
			continue
		}
		list = append(list, fmt.Sprintf("%s=%q#%s", e.Name, e.Data, e.ID))
	}
}

func TestEventsAreParsedAsBrowsersDo(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"an event":                       {"event: a\nid: 1\ndata: x\n\n", `a="x"#1`},
		"without a space":                {"event:a\nid:1\ndata:x\n\n", `a="x"#1`},
		"with more spaces":               {"event: a\ndata:  x \n\n", `a=" x "#`},
		"of many lines":                  {"event: a\ndata: x\ndata\ndata: y\n\n", `a="x\n\ny"#`},
		"without a name":                 {"data: x\n\n", `message="x"#`},
		"lines that end with CR LF":      {"event: a\r\ndata: x\r\n\r\ndata: y\r\n\r\n", `a="x"#|message="y"#`},
		"lines that end with CR":         {"event: a\rdata: x\r\rdata: y\r\r", `a="x"#|message="y"#`},
		"a byte order mark":              {"\ufeffdata: x\n\n", `message="x"#`},
		"an id that stays":               {"id: 1\ndata: x\n\ndata: y\n\nid\ndata: z\n\n", `message="x"#1|message="y"#1|message="z"#`},
		"an id with a NUL":               {"id: 1\x002\ndata: x\n\n", `message="x"#`},
		"an id without data":             {"event: a\nid: 1\n\ndata: x\n\n", `message="x"#1`},
		"a comment":                      {": as_of 1\n\ndata: x\n\n", `:as_of 1#|message="x"#`},
		"a comment within an event":      {"data: x\n: c\ndata: y\n\n", `message="x\ny"#`},
		"unknown fields":                 {"retry: 1\nother\ndata: x\n\n", `message="x"#`},
		"empty data":                     {"event: a\ndata\n\n", `a=""#`},
		"an event that the end cuts off": {"data: x\n\ndata: y\n", `message="x"#`},
		"a line that the end cuts off":   {"data: x\n\ndata: y", `message="x"#`},
		"empty lines":                    {"\n\n\ndata: x\n\n\n", `message="x"#`},
		"nothing":                        {"", ""},
		"a name that an empty line ends": {"event: a\n\ndata: x\n\n", `message="x"#`},
	} {
		t.Run(name, func(t *testing.T) {
			for how, from := range map[string]io.Reader{
				"at once": strings.NewReader(c.text), "byte by byte": iotest.OneByteReader(strings.NewReader(c.text)),
			} {
				got, err := events(from)
				if err != io.EOF || strings.Join(got, "|") != c.want {
					t.Errorf("%s: %q, %v", how, got, err)
				}
			}
		})
	}
}

// An event must not wait for the beginning of the next one.
func TestAnEventIsReturnedWhenItIsComplete(t *testing.T) {
	for name, end := range map[string]string{"LF": "\n", "CR": "\r", "CR LF": "\r\n"} {
		t.Run(name, func(t *testing.T) {
			from, to := io.Pipe()
			defer to.Close()
			go io.WriteString(to, "data: x"+end+end)
			if e, err := NewEventReader(from, MaxLine).Next(); err != nil || string(e.Data) != "x" {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
}

// An event that was cut off has not been received.
func TestTheLastIDIsThatOfACompleteEvent(t *testing.T) {
	for text, want := range map[string]string{
		"id: 1\ndata: x\n\nid: 2\ndata: y\n":   "1",
		"id: 1\ndata: x\n\nid: 2\ndata: y\n\n": "2",
		": hello\nid: 1\n\n":                   "1",
		"data: x\n\n":                          "",
	} {
		r := NewEventReader(strings.NewReader(text), MaxLine)
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
		if r.LastID() != want {
			t.Errorf("%q: %q", text, r.LastID())
		}
	}
}

func TestAnEventIsBounded(t *testing.T) {
	line := "data: " + strings.Repeat("x", MaxLine-100) + "\n"
	lines := io.MultiReader(strings.NewReader(line), &repeated{line: line, left: maxEvent/len(line) + 2})
	if got, err := events(lines); err == io.EOF || len(got) > 0 {
		t.Errorf("%d events, %v", len(got), err)
	}
}

// repeated is one line, many times.
type repeated struct {
	line       string
	left, read int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n = copy(p, r.line[r.read:])
	if r.read += n; r.read == len(r.line) {
		r.read, r.left = 0, r.left-1
	}
	return n, nil
}

func FuzzEventStream(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		whole, err := events(strings.NewReader(text))
		pieces, pieceErr := events(iotest.OneByteReader(strings.NewReader(text)))
		if strings.Join(whole, "\n") != strings.Join(pieces, "\n") || (err == io.EOF) != (pieceErr == io.EOF) {
			t.Fatalf("at once %q, %v; byte by byte %q, %v", whole, err, pieces, pieceErr)
		}
		if unix, err := events(strings.NewReader(strings.ReplaceAll(text, "\r\n", "\n"))); err == io.EOF && strings.Join(whole, "\n") != strings.Join(unix, "\n") {
			t.Fatalf("with CR LF %q, with LF %q", whole, unix)
		}
	})
}

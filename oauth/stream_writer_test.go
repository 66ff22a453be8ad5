package oauth

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestACompressedStreamCanBeReadAsItIsWritten(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 20_000)
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(long))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	out := newStreamWriter(recorder, true)
	reader, text := (*gzip.Reader)(nil), ""
	// readable returns what a reader can read of what was flushed so far.
	readable := func() string {
		t.Helper()
		if reader, err = gzip.NewReader(bytes.NewReader(recorder.Body.Bytes())); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(reader)
		if err != nil && err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		return string(all)
	}
	for _, step := range []func() error{
		func() error { text += "head"; return out.write([]byte("head")) },
		func() error { text += long; return out.writePacked(packed.Bytes(), []byte(long)) },
		func() error { text += long; return out.write([]byte(long)) },
		func() error { text += "tail"; return out.write([]byte("tail")) },
		func() error { return nil },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		if err := out.flush(); err != nil {
			t.Fatal(err)
		}
		if got := readable(); got != text {
			t.Fatalf("%d of %d bytes can be read", len(got), len(text))
		}
	}
	out.finish()
	if reader, err = gzip.NewReader(recorder.Body); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(reader); err != nil || string(all) != text { // the checksum too
		t.Errorf("at the end %d bytes, %v", len(all), err)
	}
}

func TestAFullTableEndsAStreamOfTheClientWithTheMost(t *testing.T) {
	var table streamTable
	open := func(client string) *stream {
		s := &stream{owner: streamOwner{"default", client}, done: make(chan struct{})}
		table.add(s)
		return s
	}
	ended := func(list []*stream) (n int) {
		for _, s := range list {
			select {
			case <-s.done:
				n++
			default:
			}
		}
		return n
	}
	few, many := []*stream{}, []*stream{}
	for range 20 {
		few = append(few, open("few"))
	}
	for range maxStreams + 20 {
		many = append(many, open("many"))
	}
	if n := ended(few); n != 0 {
		t.Errorf("%d streams of a client with few streams ended", n)
	}
	if n := ended(many[:40]); n != 40 || ended(many) != 40 {
		t.Errorf("%d of its oldest 40 and %d of all streams ended", n, ended(many))
	}
	third := open("third")
	if ended([]*stream{third}) != 0 || ended(few) != 0 || ended(many) != 41 || table.len() != maxStreams {
		t.Errorf("a new client ended streams of another client than the one with the most")
	}
	for _, s := range append(append(few, many...), third) {
		table.remove(s)
		table.remove(s)
	}
	if table.len() != 0 || len(table.byOwner) != 0 {
		t.Errorf("%d streams are left", table.len())
	}
}

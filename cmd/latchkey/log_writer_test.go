package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// gate is a reader of a log that may stop reading or exit.
type gate struct {
	mu     sync.Mutex
	gone   bool
	stuck  chan struct{} // if not nil, writes wait for it
	text   bytes.Buffer
	waited chan struct{} // closed when a write waits
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	stuck := g.stuck
	g.mu.Unlock()
	if stuck != nil {
		select {
		case g.waited <- struct{}{}:
		default:
		}
		<-stuck
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return 0, errors.New("broken pipe")
	}
	return g.text.Write(p)
}

func (g *gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

func plain(to io.Writer) slog.Handler { return slog.NewTextHandler(to, nil) }

func TestAStuckLogReaderDelaysNoRequest(t *testing.T) {
	g := &gate{stuck: make(chan struct{}), waited: make(chan struct{}, 1)}
	w := newLogWriter(g, plain)
	log := slog.New(plain(w))
	log.Info("first")
	<-g.waited
	for range maxLogQueue + 100 { // the pipe is full: this must return
		log.Info("line")
	}
	if lost := w.Lost(); lost != 100 {
		t.Errorf("%d lines are lost, want 100", lost)
	}
	close(g.stuck)
	g.set(func() { g.stuck = nil })
	eventually(t, "the loss is reported", func() bool { return strings.Contains(g.String(), "could not be written") })
	w.Close()
	if text := g.String(); !strings.Contains(text, "lost=100") || strings.Count(text, "msg=line") != maxLogQueue {
		t.Errorf("%d lines; the report: %q", strings.Count(text, "msg=line"), text[max(0, len(text)-300):])
	}
}

func TestTheLogReportsLostLines(t *testing.T) {
	g := &gate{gone: true}
	w := newLogWriter(g, plain)
	log := slog.New(plain(w))
	for range 3 {
		log.Info("nobody reads this")
	}
	eventually(t, "three are counted", func() bool { return w.Lost() == 3 })
	g.set(func() { g.gone = false })
	log.Info("somebody reads this")
	w.Close()
	if text := g.String(); !strings.Contains(text, "somebody reads this") || !strings.Contains(text, "lost=3") || strings.Contains(text, "nobody") {
		t.Errorf("the log: %q", text)
	}
}

func TestAStoppingServerWritesItsLastLogLines(t *testing.T) {
	g := &gate{}
	w := newLogWriter(g, plain)
	log := slog.New(plain(w))
	for range 500 {
		log.Info("line")
	}
	w.Close()
	if n := strings.Count(g.String(), "msg=line"); n != 500 {
		t.Errorf("%d of 500 lines were written", n)
	}
}

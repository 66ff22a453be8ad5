package main

import (
	"io"
	"log/slog"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// maxLogQueue is how many lines may wait for whoever reads the log.
	maxLogQueue = 8192
	// logFlush is how long a server that ends waits for its last lines.
	logFlush = time.Second
)

// logWriter writes the lines of the log in the background. Whoever reads them may
// go away, or stop reading and leave the pipe full: no request waits for that.
// Lines that cannot be written are counted, and the log reports how many were
// lost as soon as it can be written again.
type logWriter struct {
	to      io.Writer
	lines   chan []byte
	lost    atomic.Uint64
	flush   chan struct{}
	flushed chan struct{}
	report  *slog.Logger // writes to `to` directly
}

// newLogWriter begins to write to `to`.
func newLogWriter(to io.Writer, handler func(io.Writer) slog.Handler) *logWriter {
	w := &logWriter{
		to: to, lines: make(chan []byte, maxLogQueue), flush: make(chan struct{}), flushed: make(chan struct{}),
		report: slog.New(handler(to)),
	}
	go w.run()
	return w
}

// Write implements io.Writer. It never waits, and never fails.
func (w *logWriter) Write(line []byte) (int, error) {
	select {
	case w.lines <- append([]byte(nil), line...): // slog uses its buffer again
	default:
		w.lost.Add(1)
	}
	return len(line), nil
}

// Lost is how many lines could not be written.
func (w *logWriter) Lost() uint64 { return w.lost.Load() }

func (w *logWriter) run() {
	defer close(w.flushed)
	var reported uint64
	for {
		select {
		case line := <-w.lines:
			reported = w.write(line, reported)
			continue
		default:
		}
		select {
		case line := <-w.lines:
			reported = w.write(line, reported)
		case <-w.flush:
			for len(w.lines) > 0 {
				reported = w.write(<-w.lines, reported)
			}
			return
		}
	}
}

// write writes a line and, after it, how many were lost before. It returns how
// many have been reported.
func (w *logWriter) write(line []byte, reported uint64) uint64 {
	if _, err := w.to.Write(line); err != nil {
		w.lost.Add(1)
		return reported
	}
	if lost := w.lost.Load(); lost > reported {
		w.report.Warn("lines of this log could not be written", "lost", lost-reported)
		return lost
	}
	return reported
}

// Close writes the lines that wait, unless nobody reads them.
func (w *logWriter) Close() {
	close(w.flush)
	select {
	case <-w.flushed:
	case <-time.After(logFlush):
	}
}

// surviveClosedPipes keeps the process alive when the reader of its standard
// output or error goes away. Go ends it with SIGPIPE otherwise, which systemd
// takes for a clean exit.
func surviveClosedPipes() { signal.Ignore(syscall.SIGPIPE) }

// logFormat is the handler that writes lines in the configured form.
func logFormat(level, format string) func(io.Writer) slog.Handler {
	opts := &slog.HandlerOptions{Level: slog.LevelInfo}
	var wanted slog.Level
	if err := wanted.UnmarshalText([]byte(level)); err == nil {
		opts.Level = wanted
	}
	return func(to io.Writer) slog.Handler {
		if format == "text" {
			return slog.NewTextHandler(to, opts)
		}
		return slog.NewJSONHandler(to, opts)
	}
}

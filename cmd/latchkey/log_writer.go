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
	// maxLogQueue is how many lines may wait to be written.
	maxLogQueue = 8192
	// logFlush is how long a stopping server waits for its last lines to be written.
	logFlush = time.Second
)

// logWriter writes the lines of the log in the background, so that no request waits
// for a reader that has exited or has stopped reading a full pipe. It counts the
// lines that it cannot write, and reports their number in the log as soon as it can
// write again.
type logWriter struct {
	to      io.Writer
	lines   chan []byte
	lost    atomic.Uint64
	flush   chan struct{}
	flushed chan struct{}
	report  *slog.Logger // writes to `to` directly
}

// newLogWriter returns a logWriter that writes to `to`.
func newLogWriter(to io.Writer, handler func(io.Writer) slog.Handler) *logWriter {
	w := &logWriter{
		to: to, lines: make(chan []byte, maxLogQueue), flush: make(chan struct{}), flushed: make(chan struct{}),
		report: slog.New(handler(to)),
	}
	go w.run()
	return w
}

// Write implements io.Writer. It never blocks and never fails.
func (w *logWriter) Write(line []byte) (int, error) {
	select {
	case w.lines <- append([]byte(nil), line...): // slog reuses its buffer
	default:
		w.lost.Add(1)
	}
	return len(line), nil
}

// Lost returns how many lines could not be written.
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

// write writes a line, followed by a report of any lines lost since the last
// report. It returns the total number of reported lines.
func (w *logWriter) write(line []byte, reported uint64) uint64 {
	if _, err := w.to.Write(line); err != nil {
		w.lost.Add(1)
		return reported
	}
	if lost := w.lost.Load(); lost > reported {
		w.report.Warn("log lines could not be written", "lost", lost-reported)
		return lost
	}
	return reported
}

// Close writes the queued lines. It gives up after logFlush if nobody reads them.
func (w *logWriter) Close() {
	close(w.flush)
	select {
	case <-w.flushed:
	case <-time.After(logFlush):
	}
}

// surviveClosedPipes keeps the process running when the reader of its standard
// output or error exits. Otherwise Go would end it with SIGPIPE, which systemd
// treats as a clean exit.
func surviveClosedPipes() { signal.Ignore(syscall.SIGPIPE) }

// logFormat returns a constructor of handlers for the configured level and format.
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

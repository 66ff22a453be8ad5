package testserver

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Network is the network between a server and its clients. A test makes it lose or hold
// the next responses, or end the revocation streams. Requests always arrive and are
// executed: by then, their writes are committed.
type Network struct {
	mu       sync.Mutex
	lose     int
	hold     int
	held     []chan struct{} // answers that wait
	arrived  chan struct{}   // closed when the next answer is held
	feedDown bool
	streams  map[*context.CancelFunc]struct{}
	paused   chan struct{} // streams wait until it is closed; nil: they do not
}

// Lose loses the bodies of the next responses to POST requests: the connection breaks
// after their headers. Without any byte of a response, a browser would repeat the
// request automatically on another connection.
func (n *Network) Lose(count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose = count
}

// Hold holds the next responses to POST requests until Release.
func (n *Network) Hold(count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hold = count
	n.arrived = make(chan struct{})
}

// WaitHeld waits until a response is held. Its request has been executed.
func (n *Network) WaitHeld(ctx context.Context) error {
	n.mu.Lock()
	arrived := n.arrived
	n.mu.Unlock()
	if arrived == nil {
		return nil
	}
	select {
	case <-arrived:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Release sends every held response.
func (n *Network) Release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.held {
		close(h)
	}
	n.held, n.hold, n.arrived = nil, 0, nil
}

// FailFeed makes new revocation streams fail, until it is called with false.
func (n *Network) FailFeed(fail bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.feedDown = fail
}

// EndFeed ends every open revocation stream.
func (n *Network) EndFeed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for end := range maps.Keys(n.streams) {
		(*end)()
	}
}

// PauseFeed keeps revocation streams open but silent, until it is called with false.
func (n *Network) PauseFeed(pause bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case pause && n.paused == nil:
		n.paused = make(chan struct{})
	case !pause && n.paused != nil:
		close(n.paused)
		n.paused = nil
	}
}

// Wrap puts the network in front of a server's handler.
func (n *Network) Wrap(server http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/revocations"):
			n.stream(w, r, server)
		case r.Method == http.MethodPost:
			n.answer(w, r, server)
		default:
			server.ServeHTTP(w, r)
		}
	})
}

func (n *Network) answer(w http.ResponseWriter, r *http.Request, server http.Handler) {
	a := &bufferedAnswer{header: http.Header{}}
	server.ServeHTTP(a, r)
	lost, held := n.fate()
	if held != nil {
		<-held
	}
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	w.WriteHeader(a.status)
	if lost {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // breaks the connection
	}
	_, _ = w.Write(a.body.Bytes()) // the client may have left
}

// fate decides what happens to a finished response.
func (n *Network) fate() (lost bool, held chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.lose > 0:
		n.lose--
		return true, nil
	case n.hold > 0:
		n.hold--
		held = make(chan struct{})
		n.held = append(n.held, held)
		if len(n.held) == 1 {
			close(n.arrived)
		}
	}
	return false, held
}

func (n *Network) stream(w http.ResponseWriter, r *http.Request, server http.Handler) {
	ctx, end := context.WithCancel(r.Context())
	defer end()
	n.mu.Lock()
	if n.feedDown {
		n.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	if n.streams == nil {
		n.streams = map[*context.CancelFunc]struct{}{}
	}
	n.streams[&end] = struct{}{}
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.streams, &end)
	}()
	server.ServeHTTP(&pausedWriter{ResponseWriter: w, network: n, ctx: ctx}, r.WithContext(ctx))
}

// bufferedAnswer buffers a response until its fate is decided.
type bufferedAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *bufferedAnswer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *bufferedAnswer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *bufferedAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// pausedWriter writes a stream, except while the feed is paused.
type pausedWriter struct {
	http.ResponseWriter
	network *Network
	ctx     context.Context
}

// Write implements http.ResponseWriter.
func (p *pausedWriter) Write(text []byte) (int, error) {
	p.network.mu.Lock()
	paused := p.network.paused
	p.network.mu.Unlock()
	if paused != nil {
		select {
		case <-paused:
		case <-p.ctx.Done():
			return 0, p.ctx.Err()
		}
	}
	return p.ResponseWriter.Write(text)
}

// Flush implements http.Flusher.
func (p *pausedWriter) Flush() { _ = http.NewResponseController(p.ResponseWriter).Flush() }

// Unwrap lets http.ResponseController reach the connection.
func (p *pausedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

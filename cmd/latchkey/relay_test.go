package main

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// relay is a proxy between a server and its database. It can hold back responses: the
// database then executes requests, but the server gets no response.
type relay struct {
	url      string
	upstream string
	carriers sync.WaitGroup

	mu    sync.Mutex
	held  bool
	down  bool
	conns []net.Conn
}

// newRelay starts a relay for a database with a TCP address.
func newRelay(t *testing.T, databaseURL string) *relay {
	t.Helper()
	u, err := url.Parse(databaseURL)
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &relay{upstream: u.Host}
	u.Host = listener.Addr().String()
	r.url = u.String()
	r.carriers.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.carry(conn)
		}
	})
	t.Cleanup(func() {
		listener.Close()
		r.cut()
		r.carriers.Wait()
	})
	return r
}

func (r *relay) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// holdResponses holds back every response from now on.
func (r *relay) holdResponses() { r.set(func() { r.held = true }) }

// cut breaks every connection, and each new one.
func (r *relay) cut() {
	r.set(func() {
		r.down = true
		for _, conn := range r.conns {
			conn.Close()
		}
		r.conns = nil
	})
}

// forward forwards everything again.
func (r *relay) forward() { r.set(func() { r.held, r.down = false, false }) }

func (r *relay) carry(conn net.Conn) {
	database, err := net.Dial("tcp", r.upstream)
	if err != nil {
		conn.Close()
		return
	}
	r.set(func() {
		if r.down {
			conn.Close()
			database.Close()
		}
		r.conns = append(r.conns, conn, database)
	})
	r.carriers.Go(func() { r.copy(database, conn, func() bool { return true }) })
	r.carriers.Go(func() {
		r.copy(conn, database, func() (through bool) { r.set(func() { through = !r.held }); return through })
	})
}

// copy copies one direction until either end closes.
func (r *relay) copy(to, from net.Conn, through func() bool) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && through() {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

package main

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// relay carries to a database what a server says, and keeps the answers back
// when it is deaf: what was asked is done, and nobody learns of it.
type relay struct {
	url      string
	upstream string
	carriers sync.WaitGroup

	mu    sync.Mutex
	deaf  bool
	down  bool
	conns []net.Conn
}

// newRelay listens in front of a database that is reached by TCP.
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

// deafen keeps every answer back from now on.
func (r *relay) deafen() { r.set(func() { r.deaf = true }) }

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

// heal lets everything through again.
func (r *relay) heal() { r.set(func() { r.deaf, r.down = false, false }) }

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
		r.copy(conn, database, func() (hears bool) { r.set(func() { hears = !r.deaf }); return hears })
	})
}

// copy carries one way until either end closes.
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

package testdb

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Proxy is a network between a server and its PostgreSQL that a test can cut. Its
// methods are safe for concurrent use.
type Proxy struct {
	url      string
	listener net.Listener
	carriers sync.WaitGroup

	mu      sync.Mutex
	network string // of the database
	address string
	cut     bool
	conns   map[net.Conn]struct{}
}

// NewProxy listens on a loopback port and forwards connections to the database of
// databaseURL until the test ends. It does not work for a URL with
// sslmode=verify-full, because the proxy has another name.
func NewProxy(t testing.TB, databaseURL string) *Proxy {
	t.Helper()
	u, err := parse(databaseURL)
	if err != nil {
		t.Fatalf("testdb: proxy: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("testdb: proxy: %v", err)
	}
	p := &Proxy{listener: listener, conns: map[net.Conn]struct{}{}}
	p.Point(t, databaseURL)
	p.url = through(*u, listener.Addr())
	p.carriers.Go(p.serve)
	t.Cleanup(func() {
		_ = listener.Close() // serve returns
		p.Cut()
		p.carriers.Wait()
	})
	return p
}

// through returns the URL with the proxy as its only host.
func through(u url.URL, proxy net.Addr) string {
	query := u.Query()
	query.Del("host")
	query.Del("port")
	u.Host, u.RawQuery = proxy.String(), query.Encode()
	return u.String()
}

// URL returns the URL of the same database through the proxy.
func (p *Proxy) URL() string { return p.url }

// Cut breaks every connection and, until Heal, each new one at once. As with a real
// network, a statement in transit may or may not be executed.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for conn := range p.conns {
		sever(conn)
	}
	clear(p.conns)
}

// Heal forwards connections again.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// Point forwards new connections to another database. Open connections stay, as
// behind a proxy that learns of a failover.
func (p *Proxy) Point(t testing.TB, databaseURL string) {
	t.Helper()
	target, err := pgconn.ParseConfig(databaseURL)
	if err != nil {
		t.Fatal("testdb: proxy: the database URL cannot be parsed") // its text may hold a password
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network, p.address = pgconn.NetworkAddress(target.Host, target.Port)
}

// serve keeps the port during a cut, so that no other process takes it.
func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.carriers.Go(func() { p.carry(client) })
	}
}

func (p *Proxy) carry(client net.Conn) {
	if !p.begin(client) {
		sever(client)
		return
	}
	defer p.end(client)
	p.mu.Lock()
	network, address := p.network, p.address
	p.mu.Unlock()
	database, err := net.DialTimeout(network, address, waitTimeout)
	if err != nil {
		return // the database is unreachable: the client sees a broken connection
	}
	if !p.begin(database) {
		sever(database)
		return
	}
	defer p.end(database)
	p.carriers.Go(func() {
		defer p.end(client) // wakes the copy below
		_, _ = io.Copy(client, database)
	})
	_, _ = io.Copy(database, client) // the endpoints report errors themselves
}

// begin rejects a connection if Cut was called first, so that Cut leaves none.
func (p *Proxy) begin(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return false
	}
	p.conns[conn] = struct{}{}
	return true
}

func (p *Proxy) end(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
	_ = conn.Close() // written data still arrives
}

// sever closes a connection abruptly, like a failing network.
func sever(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

package testdb

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"
)

// A new session costs PostgreSQL more than most tests do in it: a process, and
// reading the catalogs again. Therefore a session whose client has terminated in order
// is kept for the next client with the same parameters. By then everything that a
// client can set is reset. If that is not certain, the session ends with its client.

const (
	// keptName is the application_name of an idle kept session.
	keptName = "kept by testdb"
	// maxKept is the maximum number of idle kept sessions. The oldest ends first.
	maxKept = 48
)

// pool holds the kept sessions of one server.
type pool struct {
	socket string // of the server

	mu   sync.Mutex
	all  map[uint32]*kept // by process id
	idle []*kept          // oldest first
}

// kept is a session that can be kept.
type kept struct {
	key     string // the parameters of its clients
	conn    net.Conn
	in      *bufio.Reader // empty while a client uses the session
	welcome []byte        // the server's messages from AuthenticationOk to ReadyForQuery
	pid     uint32
	plain   bool // its database and role have no settings of their own
	struck  bool // a cancel request for it has been received
}

var pools struct {
	sync.Mutex
	of map[string]*pool
}

func poolOf(socket string) *pool {
	pools.Lock()
	defer pools.Unlock()
	if pools.of == nil {
		pools.of = map[string]*pool{}
	}
	if pools.of[socket] == nil {
		pools.of[socket] = &pool{socket: socket, all: map[uint32]*kept{}}
	}
	return pools.of[socket]
}

// Connect connects to PostgreSQL with Dial.
func Connect(ctx context.Context, url string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.DialFunc = Dial
	return pgx.ConnectConfig(ctx, cfg)
}

// Open opens a database of either engine.
func Open(url string) (*sql.DB, error) {
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		return sql.Open("sqlite", file+"?_pragma=busy_timeout(10000)")
	}
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.DialFunc = Dial
	return stdlib.OpenDB(*cfg), nil
}

// Dial is for pgconn.Config. If the address is that of a keeper, it does the keeper's
// work in this process, so that no byte is copied twice.
func Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if folder, ok := strings.CutSuffix(address, "/.s.PGSQL."+keeperPort); ok && network == "unix" {
		return newSession(poolOf(socketIn(folder, serverPort))), nil
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// get returns a session for a client's parameters and password. If the server
// rejects them, get returns the server's message.
func (p *pool) get(packet []byte, wanted map[string]string, password []byte) (*kept, []byte, error) {
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		key.WriteString(name + "\x00" + wanted[name] + "\x00")
	}
	key.Write(password)
	for {
		s, struck := p.take(key.String())
		if s == nil {
			break
		}
		if !struck && s.awake() {
			return s, nil, nil
		}
		p.end(s) // for example, its database is gone
	}
	conn, err := net.Dial("unix", p.socket)
	if err != nil {
		return nil, nil, err
	}
	s := &kept{key: key.String(), conn: conn, in: bufio.NewReader(conn)}
	refusal, err := s.begin(packet, password)
	if refusal != nil || err != nil {
		_ = conn.Close()
		return nil, refusal, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[s.pid] = s
	return s, nil, nil
}

func (p *pool) take(key string) (s *kept, struck bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range slices.Backward(p.idle) {
		if s.key == key {
			p.idle = slices.Delete(p.idle, i, i+1)
			return s, s.struck
		}
	}
	return nil, false
}

// put returns a session to the pool after its client has left it idle.
func (p *pool) put(s *kept) {
	if !s.forget() {
		p.end(s)
		return
	}
	p.mu.Lock()
	p.idle = append(p.idle, s)
	var oldest *kept
	if len(p.idle) > maxKept {
		oldest = p.idle[0]
		p.idle = slices.Delete(p.idle, 0, 1)
	}
	p.mu.Unlock()
	if oldest != nil {
		p.end(oldest)
	}
}

func (p *pool) end(s *kept) {
	_ = s.conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all[s.pid] == s {
		delete(p.all, s.pid)
	}
}

// strike records the session of a cancel request. The request may arrive after the
// statement has ended, and must not cancel a statement of the next client.
func (p *pool) strike(request []byte) {
	if len(request) < 12 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.all[binary.BigEndian.Uint32(request[8:])]; s != nil {
		s.struck = true
	}
}

// begin opens a session at the server.
func (s *kept) begin(packet, password []byte) (refusal []byte, err error) {
	_ = s.conn.SetDeadline(time.Now().Add(waitTimeout)) // works on every socket; ask resets it
	if _, err := s.conn.Write(packet); err != nil {
		return nil, err
	}
	for {
		kind, body, err := message(s.in)
		switch {
		case err != nil:
			return nil, err
		case kind == 'E':
			return encoded(kind, body), nil
		case kind == 'R' && binary.BigEndian.Uint32(body) != 0:
			if _, err := s.conn.Write(encoded('p', password)); err != nil {
				return nil, err
			}
			continue
		case kind == 'K':
			s.pid = binary.BigEndian.Uint32(body)
		}
		s.welcome = append(s.welcome, encoded(kind, body)...)
		if kind == 'Z' {
			var ok bool
			if s.plain, ok = s.ask("SELECT " + noSettings); !ok {
				return nil, errors.New("a new PostgreSQL session does not respond")
			}
			return nil, nil
		}
	}
}

// noSettings reports whether the database and the role have no settings of their own.
// A session applies such settings only when it begins.
const noSettings = "NOT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))"

// awake prepares a kept session for a client.
func (s *kept) awake() bool {
	plain, ok := s.ask("RESET application_name; SELECT " + noSettings)
	return ok && plain
}

// forget resets a session and makes it report its statistics, as at its end.
// PostgreSQL before 15 has no function for that, so none of its sessions is kept.
func (s *kept) forget() bool {
	if !s.plain {
		return false
	}
	// DISCARD ALL is a separate query, because two statements in one query form a transaction.
	plain, ok := s.ask("DISCARD ALL", "SET application_name = '"+keptName+"'; SELECT pg_stat_force_next_flush(); SELECT "+noSettings)
	return ok && plain
}

// ask sends queries, of which the last one yields a boolean. It fails unless the
// session is idle afterwards.
func (s *kept) ask(queries ...string) (answer, ok bool) {
	_ = s.conn.SetDeadline(time.Now().Add(waitTimeout))
	defer func() { _ = s.conn.SetDeadline(time.Time{}) }()
	var batch []byte
	for _, query := range queries {
		batch = append(batch, encoded('Q', []byte(query+"\x00"))...)
	}
	if _, err := s.conn.Write(batch); err != nil {
		return false, false
	}
	for answered := 0; answered < len(queries); {
		kind, body, err := message(s.in)
		switch {
		case err != nil || kind == 'E':
			return false, false
		case kind == 'D':
			answer = strings.HasSuffix(string(body), "t")
		case kind == 'Z':
			if answered++; body[0] != 'I' {
				return false, false
			}
		}
	}
	return answer, s.in.Buffered() == 0
}

// session is a client's connection to a pool. To the client it looks like a connection
// to a server.
type session struct {
	pool *pool

	mu       sync.Mutex
	moved    *sync.Cond // on mu: a field below has changed
	early    []byte     // the client's data before it has a server
	packet   []byte     // its startup packet, once complete
	wanted   map[string]string
	answer   []byte   // data to read before the server's
	server   net.Conn // nil: not yet
	kept     *kept    // the session of server; nil: this connection is not kept
	over     bool     // the connection is closed
	readers  int      // number of goroutines that read from server
	toServer frames
	toClient frames
}

func newSession(p *pool) *session {
	c := &session{pool: p, toClient: frames{status: 'I'}}
	c.moved = sync.NewCond(&c.mu)
	return c
}

// Read implements net.Conn.
func (c *session) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.answer) == 0 && c.server == nil && !c.over {
		c.moved.Wait()
	}
	if len(c.answer) > 0 {
		n := copy(b, c.answer)
		c.answer = c.answer[n:]
		return n, nil
	}
	if c.over {
		return 0, io.EOF
	}
	server := c.server
	c.readers++
	c.mu.Unlock()
	n, err := server.Read(b)
	c.mu.Lock()
	c.readers--
	c.moved.Broadcast()
	c.toClient.pass(b[:n])
	if c.over && n == 0 {
		err = io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (c *session) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	if c.server == nil {
		defer c.mu.Unlock()
		defer c.moved.Broadcast()
		c.early = append(c.early, b...)
		if err := c.start(); err != nil {
			c.over = true
			return 0, err
		}
		return len(b), nil
	}
	if c.kept != nil && c.toServer.pass(b) && len(b) == terminateLength && c.rest() {
		defer c.mu.Unlock()
		c.leave()
		return len(b), nil
	}
	server := c.server
	c.mu.Unlock()
	return server.Write(b)
}

// Request codes that replace the protocol version in a startup packet.
const (
	sslRequest    = 80877103
	gssRequest    = 80877104
	cancelRequest = 80877102
)

// start handles the complete packets that have arrived so far.
func (c *session) start() error {
	for len(c.early) >= 8 && c.packet == nil {
		length := int(binary.BigEndian.Uint32(c.early))
		if length < 8 || length > 10000 { // PostgreSQL's own limit
			return errors.New("not a startup packet")
		}
		if len(c.early) < length {
			return nil
		}
		packet := c.early[:length:length]
		c.early = c.early[length:]
		switch binary.BigEndian.Uint32(packet[4:]) {
		case sslRequest, gssRequest:
			c.answer = append(c.answer, 'N')
			continue
		case cancelRequest:
			c.pool.strike(packet)
			return c.pass(packet)
		}
		startup := new(pgproto3.StartupMessage)
		if startup.Decode(packet[4:]) != nil || startup.Parameters["user"] != superuser {
			return c.pass(packet)
		}
		c.packet, c.wanted = packet, startup.Parameters
		c.answer = append(c.answer, 'R', 0, 0, 0, 8, 0, 0, 0, 3) // AuthenticationCleartextPassword
	}
	if c.packet == nil || len(c.early) < 5 || len(c.early) < 1+int(binary.BigEndian.Uint32(c.early[1:])) {
		return nil
	}
	if c.early[0] != 'p' {
		return errors.New("not a password")
	}
	s, refusal, err := c.pool.get(c.packet, c.wanted, c.early[5:])
	switch {
	case err != nil:
		return err
	case refusal != nil:
		c.answer, c.over = append(c.answer, refusal...), true
		return nil
	}
	c.answer = append(c.answer, s.welcome...)
	c.kept, c.server = s, s.conn
	return nil
}

// pass connects the client to a session that is not shared or kept.
func (c *session) pass(packet []byte) (err error) {
	if c.server, err = net.Dial("unix", c.pool.socket); err == nil {
		_, err = c.server.Write(packet)
	}
	return err
}

// rest reports whether the server has answered every query and is in no transaction.
func (c *session) rest() bool {
	return c.toServer.asked == c.toClient.ready && c.toClient.status == 'I' && c.toClient.whole() && len(c.answer) == 0
}

// leave gives the session back.
func (c *session) leave() {
	c.over = true
	s := c.kept
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // wake readers that wait for the server
	for c.readers > 0 {
		c.moved.Wait()
	}
	if c.rest() {
		c.pool.put(s)
	} else {
		c.pool.end(s)
	}
	c.kept, c.server = nil, nil
	c.moved.Broadcast()
}

// Close implements net.Conn.
func (c *session) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.kept != nil:
		c.pool.end(c.kept)
	case c.server != nil:
		_ = c.server.Close()
	}
	c.kept, c.server, c.over = nil, nil, true
	c.moved.Broadcast()
	return nil
}

// NetConn returns the connection to the server, like that of a tls.Conn.
func (c *session) NetConn() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// LocalAddr implements net.Conn.
func (c *session) LocalAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// RemoteAddr is the address for Dial, which is also used for cancel requests.
func (c *session) RemoteAddr() net.Addr {
	return &net.UnixAddr{Net: "unix", Name: socketIn(filepath.Dir(c.pool.socket), keeperPort)}
}

// SetDeadline implements net.Conn.
func (c *session) SetDeadline(t time.Time) error { return c.limit(t, net.Conn.SetDeadline) }

// SetReadDeadline implements net.Conn.
func (c *session) SetReadDeadline(t time.Time) error { return c.limit(t, net.Conn.SetReadDeadline) }

// SetWriteDeadline implements net.Conn.
func (c *session) SetWriteDeadline(t time.Time) error { return c.limit(t, net.Conn.SetWriteDeadline) }

// limit has no effect without a server: pool.get has its own limits.
func (c *session) limit(t time.Time, set func(net.Conn, time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.server == nil {
		return nil
	}
	return set(c.server, t)
}

// terminateLength is the length of a Terminate message, the last message of a client.
const terminateLength = 5

// frames parses the messages in one direction of a connection, which may arrive in
// pieces.
type frames struct {
	head [6]byte // of the current message: its type, its length, its first byte
	have int     // number of bytes in head
	rest int     // remaining bytes of the message after head

	asked  int  // client messages that a ReadyForQuery answers
	ready  int  // ReadyForQuery messages
	status byte // of the last one
}

// whole reports whether the last message is complete.
func (f *frames) whole() bool { return f.have == 0 && f.rest == 0 }

// pass parses a piece, and reports whether it contains a Terminate.
func (f *frames) pass(piece []byte) (goodbye bool) {
	for len(piece) > 0 {
		if f.rest > 0 {
			n := min(f.rest, len(piece))
			f.rest -= n
			piece = piece[n:]
			continue
		}
		n := copy(f.head[f.have:5], piece)
		f.have += n
		if piece = piece[n:]; f.have < 5 {
			return goodbye
		}
		length := int(binary.BigEndian.Uint32(f.head[1:5])) - 4
		if length > 0 {
			if len(piece) == 0 {
				return goodbye
			}
			f.head[5] = piece[0]
			piece = piece[1:]
		}
		switch f.head[0] {
		case 'Q', 'S', 'F': // Query, Sync, FunctionCall
			f.asked++
		case 'Z':
			f.ready++
			f.status = f.head[5]
		case 'X':
			goodbye = true
		}
		f.have, f.rest = 0, max(length-1, 0)
	}
	return goodbye
}

// message reads one message.
func message(from *bufio.Reader) (kind byte, body []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(from, head); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n < 4 || n > 1<<24 {
		return 0, nil, errors.New("not a message")
	}
	body = make([]byte, n-4)
	_, err = io.ReadFull(from, body)
	return head[0], body, err
}

func encoded(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...)
}

package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/fetch"
	"github.com/latchkey/latchkey/settings"
)

const (
	attemptTimeout = 10 * time.Second
	mostAnswer     = 1 << 10  // of an answer that is kept
	mostRead       = 64 << 10 // of an answer that is read
)

// outcome is what came of an attempt.
type outcome struct {
	models.Attempt
	accepted bool
	final    bool          // the receiver said that it will never accept the event
	gone     bool          // the receiver said that it wants no more events
	said     string        // by the receiver, about the error
	wait     time.Duration // how long the receiver asks to wait; 0: it does not
}

// attempt sends one event. Its error text names no address.
func (d *Deliverer) attempt(ctx context.Context, row *models.Destination, e models.ListedEvent, number int) outcome {
	begun := time.Now()
	out := outcome{Attempt: models.Attempt{Event: e.ID, Type: e.Delivered(), At: d.store.Now(), Number: number}}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	private := true // until a connection shows the opposite
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { private = !isPublic(c.Conn) }})
	request, err := d.request(ctx, row, e)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	resp, err := d.clients[row.Settings.AllowPrivateAddresses].Do(request)
	if out.Took = time.Since(begun); err != nil {
		out.Error = fetch.Describe(err, "receiver")
		return out
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	out.Took = time.Since(begun)
	if out.Status = resp.StatusCode; err != nil {
		out.Error = fetch.Describe(err, "receiver")
		return out
	}
	io.Copy(io.Discard, io.LimitReader(resp.Body, mostRead)) // so that the connection can be used again
	d.judge(row, resp, answer, &out)
	if !private {
		out.Answer = printable(answer)
		out.Error += out.said
	}
	return out
}

// judge decides what the answer means.
func (d *Deliverer) judge(row *models.Destination, resp *http.Response, answer []byte, out *outcome) {
	status := resp.StatusCode
	set := row.Settings.Type == settings.DestinationPush
	switch {
	case status >= 200 && status < 300:
		out.accepted = true
		return
	case status == http.StatusGone:
		out.gone, out.Error = true, "the receiver answered 410: it wants no more events"
		return
	case status >= 300 && status < 400:
		out.Error = fmt.Sprintf("the receiver answered %d: redirects are not followed", status)
	default:
		out.Error = fmt.Sprintf("the receiver answered %d", status)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
			out.wait = min(time.Duration(seconds)*time.Second, mostWait)
		}
	}
	if set && status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout { // RFC 8935 §2.4
		out.final = true
		var said struct{ Err, Description string }
		if json.Unmarshal(answer, &said) == nil && said.Err != "" {
			out.said = ": " + printable([]byte(said.Err+": "+said.Description))
		}
	}
}

// request makes the request that delivers an event.
func (d *Deliverer) request(ctx context.Context, row *models.Destination, e models.ListedEvent) (*http.Request, error) {
	now := d.store.Now()
	secret, err := d.secret(row, row.SealedSecret, row.RootVersion)
	if err != nil {
		return nil, err
	}
	if row.Settings.Type == settings.DestinationPush {
		token, err := d.SecurityEvent(ctx, row, e)
		if err != nil {
			return nil, err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, row.Settings.URL, strings.NewReader(token))
		if err != nil {
			return nil, errors.New("the URL of the destination is malformed")
		}
		r.Header.Set("Content-Type", "application/secevent+jwt")
		r.Header.Set("Accept", "application/json")
		r.Header.Set("User-Agent", "Latchkey")
		if secret != "" {
			r.Header.Set("Authorization", secret)
		}
		return r, nil
	}
	issuer, err := d.entryID(ctx, e)
	if err != nil {
		return nil, err
	}
	body, err := newMessage(e, issuer).body()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, row.Settings.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the URL of the destination is malformed")
	}
	id := e.ID.String()
	signature, err := sign(secret, id, now, body)
	if err == nil && row.SealedOld != nil && now.Before(row.OldUntil.Time) {
		var old string
		if old, err = d.secret(row, row.SealedOld, row.OldRoot); err == nil {
			var second string
			second, err = sign(old, id, now, body)
			signature += " " + second
		}
	}
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Latchkey")
	r.Header.Set(standardwebhooks.HeaderWebhookID, id)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return r, nil
}

func (d *Deliverer) secret(row *models.Destination, sealed []byte, root int64) (string, error) {
	if sealed == nil {
		return "", nil
	}
	return d.o.Open(row.TenantID, row.ID, sealed, root)
}

func sign(secret, id string, at time.Time, body []byte) (string, error) {
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil || secret == "" {
		return "", errors.New("the destination has no usable secret")
	}
	return hook.Sign(id, at, body)
}

// isPublic reports whether a connection leads to a public address.
func isPublic(c net.Conn) bool {
	addr, err := netip.ParseAddrPort(c.RemoteAddr().String())
	return err == nil && fetch.Public(addr.Addr())
}

// printable returns text that can be stored and shown.
func printable(text []byte) string {
	text = text[:min(len(text), mostAnswer)]
	for len(text) > 0 && !utf8.Valid(text) { // it may be cut inside a character
		if len(text) < mostAnswer-utf8.UTFMax {
			break
		}
		text = text[:len(text)-1]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(text), "�"))
}

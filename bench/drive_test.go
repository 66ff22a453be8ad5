package bench

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// drive sends n requests, beginning with number first, over all connections
// concurrently. Each must get status 200.
func drive(b *testing.B, address string, first, n int, request func(worker, i int) *http.Request, answered func(worker int, body []byte)) {
	b.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	var next, failed atomic.Int64
	var running sync.WaitGroup
	for worker := range connections {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == 0; i = int(next.Add(1)) - 1 {
				r := request(worker, first+i)
				r.URL.Host = address
				body, err := send(client, r)
				if err != nil {
					failed.Add(1)
					b.Errorf("%s %s: %v %s", r.Method, r.URL.Path, err, body)
				} else if answered != nil {
					answered(worker, body)
				}
			}
		})
	}
	running.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

func send(client *http.Client, r *http.Request) ([]byte, error) {
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return body, err
}

func get(path string) *http.Request {
	return &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Path: path}, Header: http.Header{}}
}

func post(path string, form url.Values) *http.Request {
	text := form.Encode()
	return &http.Request{
		Method: http.MethodPost, URL: &url.URL{Scheme: "http", Path: path},
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body:   io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
	}
}

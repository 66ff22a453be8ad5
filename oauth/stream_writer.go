package oauth

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/http"
	"time"
)

// streamWriter writes a stream, as gzip (RFC 1952) if the client accepts it.
// The part that all streams share is compressed once, as blocks of DEFLATE that
// refer to nothing before them. What follows is written in stored blocks (RFC
// 1951 §3.2.4), which take no processor time and can be read as soon as they
// arrive.
type streamWriter struct {
	w      http.ResponseWriter
	http   *http.ResponseController
	zipped bool
	begun  bool
	sum    uint32
	size   uint32
}

// newStreamWriter returns a writer for a stream.
func newStreamWriter(w http.ResponseWriter, zipped bool) *streamWriter {
	return &streamWriter{w: w, http: http.NewResponseController(w), zipped: zipped}
}

const (
	// maxStored is the maximum length of a stored block.
	maxStored = 1<<16 - 1
	// writeChunk is the maximum length of one write, which has a deadline.
	writeChunk = 32 << 10
)

var (
	gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}
	syncMarker = []byte{0, 0, 0, 0xff, 0xff} // an empty stored block: readers pass on what they have
	lastBlock  = []byte{1, 0, 0, 0xff, 0xff}
)

// write writes text.
func (w *streamWriter) write(text []byte) error {
	if !w.zipped {
		return w.writeRaw(text)
	}
	if err := w.addChecksum(text); err != nil {
		return err
	}
	for len(text) > 0 {
		n := min(len(text), maxStored)
		head := []byte{0, 0, 0, 0, 0}
		binary.LittleEndian.PutUint16(head[1:], uint16(n))
		binary.LittleEndian.PutUint16(head[3:], ^uint16(n))
		if err := w.writeRaw(head); err != nil {
			return err
		}
		if err := w.writeRaw(text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// writePacked writes text that is already compressed.
func (w *streamWriter) writePacked(packed, text []byte) error {
	if !w.zipped || packed == nil {
		return w.write(text)
	}
	if err := w.addChecksum(text); err != nil {
		return err
	}
	return w.writeRaw(packed)
}

// addChecksum writes the header before the first text, and adds text to the
// checksum.
func (w *streamWriter) addChecksum(text []byte) error {
	w.sum = crc32.Update(w.sum, crc32.IEEETable, text)
	w.size += uint32(len(text))
	if w.begun {
		return nil
	}
	w.begun = true
	return w.writeRaw(gzipHeader)
}

// writeRaw writes bytes without encoding them. Each write has its own deadline.
func (w *streamWriter) writeRaw(b []byte) error {
	for len(b) > 0 {
		if err := extendWriteDeadline(w.http); err != nil {
			return err
		}
		n := min(len(b), writeChunk)
		if _, err := w.w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// flush sends what has been written, and removes the deadline: a stream that
// waits for news has none.
func (w *streamWriter) flush() error {
	if w.zipped {
		if err := w.writeRaw(syncMarker); err != nil {
			return err
		}
	}
	if err := w.http.Flush(); err != nil {
		return err
	}
	return setWriteDeadline(w.http, time.Time{})
}

// finish ends the gzip stream. It ignores errors, because the reader may have
// disconnected.
func (w *streamWriter) finish() {
	if w.zipped {
		end := binary.LittleEndian.AppendUint32(append([]byte(nil), lastBlock...), w.sum)
		_ = w.writeRaw(binary.LittleEndian.AppendUint32(end, w.size))
	}
}

// extendWriteDeadline sets the deadline of the next write. It uses the
// machine's clock rather than the time of the store, as net/http does.
func extendWriteDeadline(c *http.ResponseController) error {
	return setWriteDeadline(c, time.Now().Add(streamWriteTimeout))
}

// setWriteDeadline sets the deadline of writes, if there is a connection.
func setWriteDeadline(c *http.ResponseController, at time.Time) error {
	if err := c.SetWriteDeadline(at); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

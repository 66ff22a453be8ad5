package fetch

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
)

// Describe returns the error of a request to `whom`, such as "receiver", in words of its
// own: those of net/http and crypto/tls contain addresses, the URL, which may have a
// password in its query, and what the other side has sent, which may be a machine on a
// private address.
func Describe(err error, whom string) string {
	var timeout net.Error
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	var operation *net.OpError
	switch {
	case errors.Is(err, ErrNotAllowed):
		return "the address is private, which allow_private_addresses would have to allow"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "the " + whom + " did not answer in time"
	case errors.As(err, &name):
		return "the name of the " + whom + " cannot be resolved"
	case errors.As(err, &certificate):
		return "the certificate of the " + whom + " cannot be verified"
	case errors.As(err, &plain):
		return "the " + whom + " does not use TLS"
	case errors.As(err, &operation) && operation.Op == "dial":
		return "cannot connect to the " + whom
	case errors.As(err, &operation), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection to the " + whom + " broke"
	case errors.Is(err, errTooLong):
		return "the " + whom + " sent a response that is too long"
	}
	return "the " + whom + " sent no valid HTTP response"
}

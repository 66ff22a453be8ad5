package latchkeytest

import (
	"maps"
	"slices"
	"time"
)

// entry is an entry of the feed.
type entry struct {
	SID      string `json:"sid,omitempty"`
	JTI      string `json:"jti,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	Issuer   string `json:"issuer,omitempty"`
	Sub      string `json:"sub,omitempty"`
	Before   int64  `json:"before,omitempty"`
	At       int64  `json:"at"`
	Until    int64  `json:"until"`

	sessions []string // of an entry with Issuer: the sessions that it ends
}

// revocationLifetime is how long an entry is sent: the lifetime of a token plus
// the tolerance of verifiers.
const revocationLifetime = AccessTokenLifetime + 90*time.Second

// RevokeSession ends a session: all tokens with this `sid` are revoked.
func (i *Issuer) RevokeSession(sid string) { i.revoke(entry{SID: sid}) }

// RevokeToken revokes one token (`jti`).
func (i *Issuer) RevokeToken(jti string) { i.revoke(entry{JTI: jti}) }

// RevokeUser revokes the tokens that were issued for a user (`sub`) until now,
// to the second.
func (i *Issuer) RevokeUser(sub string) { i.revoke(entry{Sub: sub, Before: i.Now().Unix() + 1}) }

// RevokeClient revokes the tokens that were issued to a client (`client_id`)
// until now, to the second.
func (i *Issuer) RevokeClient(id string) { i.revoke(entry{ClientID: id, Before: i.Now().Unix() + 1}) }

// RevokeIssuer ends sessions that a trusted issuer has vouched for. No claim
// names that issuer, so verifiers introspect tokens that were issued until now.
func (i *Issuer) RevokeIssuer(issuer string, sids ...string) {
	i.revoke(entry{Issuer: issuer, Before: i.Now().Unix() + 1, sessions: sids})
}

func (i *Issuer) revoke(e entry) {
	now := i.Now()
	e.At, e.Until = now.Unix(), now.Add(revocationLifetime).Unix()+1
	i.mu.Lock()
	defer i.mu.Unlock()
	i.revoked = append(i.revoked, e)
	i.wakeStreams()
}

// isRevoked reports whether a token with these claims is revoked.
func (i *Issuer) isRevoked(claims Claims) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	iat, _ := claims["iat"].(float64)
	return slices.ContainsFunc(i.revoked, func(e entry) bool {
		switch {
		case e.SID != "":
			return claims["sid"] == e.SID
		case e.JTI != "":
			return claims["jti"] == e.JTI
		case e.Sub != "":
			return claims["sub"] == e.Sub && int64(iat) < e.Before
		case e.ClientID != "":
			return claims["client_id"] == e.ClientID && int64(iat) < e.Before
		default:
			sid, _ := claims["sid"].(string)
			return slices.Contains(e.sessions, sid)
		}
	})
}

// StatusClaims returns the claims `sid` and `status` for a token of a session.
// They refer to the session's entry in the issuer's status list, which
// RevokeSession sets.
func (i *Issuer) StatusClaims(sid string) Claims {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, known := i.statusIndex[sid]; !known {
		i.statusIndex[sid] = len(i.statusIndex)
	}
	return Claims{"sid": sid, "status": map[string]any{"status_list": map[string]any{"idx": i.statusIndex[sid], "uri": i.URL + statusPath}}}
}

// statusBits returns the status list, one bit per session that has an index.
func (i *Issuer) statusBits() []byte {
	i.mu.Lock()
	indices := maps.Clone(i.statusIndex)
	i.mu.Unlock()
	bits := make([]byte, len(indices)/8+1)
	for sid, index := range indices {
		if i.isRevoked(Claims{"sid": sid}) {
			bits[index/8] |= 1 << (index % 8)
		}
	}
	return bits
}

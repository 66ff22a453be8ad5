package oauth

// ssfMetadata is the metadata of a transmitter of security events (SSF 1.0 §7.1).
type ssfMetadata struct {
	SpecVersion           string             `json:"spec_version"`
	Issuer                string             `json:"issuer"`
	JWKSURI               string             `json:"jwks_uri"`
	DeliveryMethods       []string           `json:"delivery_methods_supported"`
	ConfigurationEndpoint string             `json:"configuration_endpoint"`
	StatusEndpoint        string             `json:"status_endpoint"`
	VerificationEndpoint  string             `json:"verification_endpoint"`
	AuthorizationSchemes  []ssfAuthorization `json:"authorization_schemes"`
	DefaultSubjects       string             `json:"default_subjects"`
}

// ssfAuthorization is a way in which a receiver authenticates.
type ssfAuthorization struct {
	URN string `json:"spec_urn"`
}

// SSFMetadata returns the tenant's metadata as a transmitter. Every tenant has it:
// receivers to which an operator lets events be pushed find the keys in it.
func (t *Tenant) SSFMetadata() (*Document, error) {
	return newDocument(ssfMetadata{
		SpecVersion: "1_0", Issuer: t.Issuer, JWKSURI: t.Issuer + "/.well-known/jwks.json",
		DeliveryMethods:       []string{methodPush, methodPoll},
		ConfigurationEndpoint: t.Issuer + "/ssf/stream", StatusEndpoint: t.Issuer + "/ssf/status", VerificationEndpoint: t.Issuer + "/ssf/verify",
		AuthorizationSchemes: []ssfAuthorization{{"urn:ietf:rfc:6749"}},
		DefaultSubjects:      "ALL",
	})
}

package oauth

import (
	"fmt"

	"github.com/latchkey/latchkey/models"
)

// CheckTenants compiles every expression and parses every inline key of a
// configuration, and names what can never work by its path.
func CheckTenants(tenants []models.TenantSpec) models.Faults {
	var faults models.Faults
	envs, err := environments()
	if err != nil {
		faults.Add("tenants", "%v", err)
		return faults
	}
	for i, t := range tenants {
		for j, issuer := range t.TrustedIssuers {
			path := fmt.Sprintf("tenants[%d].trusted_issuers[%d].", i, j)
			e := issuerEntry{TrustedIssuer: models.TrustedIssuer{Settings: issuer.IssuerSettings}}
			e.compile(&faults, path)
			if _, err := parseStaticKeys(issuer.Keys); err != nil {
				faults.Add(path+keysPath(issuer.Keys), "%v", err)
			}
		}
		for j, client := range t.Clients {
			path := fmt.Sprintf("tenants[%d].clients[%d].", i, j)
			if client.Allow != "" {
				if _, err := compile(envs.allow, client.Allow, boolType); err != nil {
					faults.Add(path+"allow", "%v", err)
				}
			}
			compileMapping(envs.claim, client.Claims, path+"claims", &faults)
		}
	}
	return faults
}

func keysPath(k models.IssuerKeys) string {
	if k.JWKS != nil {
		return "keys.jwks"
	}
	return "keys.pem"
}

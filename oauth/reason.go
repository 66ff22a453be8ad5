package oauth

// Reason is why a request was refused, in one word beside the error code of the
// RFC. The meaning of a word never changes, so that apps may depend on it.
// docs/errors.md explains each word: what happened, who must fix it, and how.
type Reason string

// Reasons about the form of a request.
const (
	ReasonRequestMalformed     Reason = "request_malformed"
	ReasonRequestTooLarge      Reason = "request_too_large"
	ReasonCredentialsInURL     Reason = "credentials_in_url"
	ReasonParameterMissing     Reason = "parameter_missing"
	ReasonParameterRepeated    Reason = "parameter_repeated"
	ReasonParameterInvalid     Reason = "parameter_invalid"
	ReasonParameterUnsupported Reason = "parameter_unsupported"
	ReasonScopeMalformed       Reason = "scope_malformed"
	ReasonTargetMalformed      Reason = "target_malformed"
	ReasonNotFound             Reason = "not_found"
	ReasonMethodNotAllowed     Reason = "method_not_allowed"
	ReasonNotAcceptable        Reason = "not_acceptable"
	ReasonNotImplemented       Reason = "not_implemented"
)

// Reasons about the caller and what it may do.
const (
	ReasonOriginNotListed      Reason = "origin_not_listed"
	ReasonClientAuthentication Reason = "client_authentication_failed"
	ReasonClientAmbiguous      Reason = "client_authentication_ambiguous"
	ReasonTooManyFailures      Reason = "too_many_failures"
	ReasonGrantUnsupported     Reason = "grant_unsupported"
	ReasonGrantNotAllowed      Reason = "grant_not_allowed"
	ReasonClientNotAllowed     Reason = "client_not_allowed"
	ReasonScopeNotAllowed      Reason = "scope_not_allowed"
	ReasonScopeInsufficient    Reason = "scope_insufficient"
	ReasonTargetNotAllowed     Reason = "target_not_allowed"
	ReasonClientTokensOff      Reason = "client_tokens_disabled"
	ReasonStreamNotFound       Reason = "event_stream_not_found"
	ReasonStreamManaged        Reason = "event_stream_managed"
	ReasonStreamLimit          Reason = "event_stream_limit"
	ReasonStreamVerifications  Reason = "event_stream_verified_too_often"
)

// Reasons about the identity provider of a trusted issuer that ends sessions.
const (
	ReasonRevocationToken  Reason = "revocation_token_rejected"
	ReasonRevocationCaller Reason = "revocation_caller_not_allowed"
	ReasonRevocationUser   Reason = "revocation_user_unknown"
)

// Reasons about a client token, which the wire calls subject_token.
const (
	ReasonSubjectTokenMalformed   Reason = "subject_token_malformed"
	ReasonSubjectTokenTyp         Reason = "subject_token_typ"
	ReasonSubjectTokenIssuer      Reason = "subject_token_issuer"
	ReasonSubjectTokenAudience    Reason = "subject_token_audience"
	ReasonSubjectTokenClient      Reason = "subject_token_client"
	ReasonSubjectTokenClaims      Reason = "subject_token_claims"
	ReasonSubjectTokenExpired     Reason = "subject_token_expired"
	ReasonSubjectTokenNotYetValid Reason = "subject_token_not_yet_valid"
	ReasonSubjectTokenTooOld      Reason = "subject_token_too_old"
	ReasonSubjectTokenLifetime    Reason = "subject_token_lifetime"
	ReasonSubjectTokenAlgorithm   Reason = "subject_token_algorithm"
	ReasonSubjectTokenKey         Reason = "subject_token_key"
	ReasonSubjectTokenSignature   Reason = "subject_token_signature"
	ReasonSubjectTokenSubject     Reason = "subject_token_subject"
	ReasonSubjectTokenNamespace   Reason = "subject_token_namespace"
	ReasonSubjectTokenMapping     Reason = "subject_token_mapping"
	ReasonSubjectTokenSpent       Reason = "subject_token_spent"
	ReasonSubjectTokenRestored    Reason = "subject_token_before_restore"
	ReasonSubjectTokenRevoked     Reason = "subject_token_before_revocation"
	ReasonSubjectTokenOtherUser   Reason = "subject_token_other_user"
	ReasonIssuerUnavailable       Reason = "issuer_unavailable"
	ReasonIssuerMisconfigured     Reason = "issuer_misconfigured"
	ReasonUserDisabled            Reason = "user_disabled"
	ReasonUserUnknown             Reason = "user_unknown"
	ReasonSignInDisabled          Reason = "sign_in_disabled"
	ReasonPolicyDenied            Reason = "policy_denied"
	ReasonSessionLimit            Reason = "session_limit"
	ReasonAuthenticationNotEnough Reason = "authentication_insufficient"
)

// Reasons about a session and its tokens.
const (
	ReasonSessionEnded           Reason = "session_ended"
	ReasonSessionNotFound        Reason = "session_not_found"
	ReasonExtensionNotAllowed    Reason = "extension_not_allowed"
	ReasonRefreshUnknown         Reason = "refresh_unknown"
	ReasonRefreshReused          Reason = "refresh_reused"
	ReasonRefreshSuperseded      Reason = "refresh_superseded"
	ReasonChainMismatch          Reason = "chain_mismatch"
	ReasonSessionTokenUnknown    Reason = "session_token_unknown"
	ReasonSessionTokenSuperseded Reason = "session_token_superseded"
	ReasonTokenMissing           Reason = "token_missing"
	ReasonTokenMalformed         Reason = "token_malformed"
	ReasonTokenUnknown           Reason = "token_unknown"
	ReasonTokenExpired           Reason = "token_expired"
	ReasonTokenAudience          Reason = "token_audience"
	ReasonTokenOtherClient       Reason = "token_other_client"
	ReasonTokenKind              Reason = "token_kind"
)

// Reasons about this server.
const (
	ReasonUnavailable Reason = "temporarily_unavailable"
	ReasonServerBusy  Reason = "server_busy"
	ReasonServerError Reason = "server_error"
)

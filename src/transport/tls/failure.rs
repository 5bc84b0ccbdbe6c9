use std::io;
use std::sync::Arc;

use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError,
};

use super::PROTOCOL;
use super::pin::NotPinned;
use crate::transport::{CertificateProblem, TransportError};

/// Names of a certificate that are told, and the characters of each.
const NAMES: (usize, usize) = (8, 64);

pub(super) fn failed(error: io::Error) -> TransportError {
    explain(&error).unwrap_or_else(|| TransportError::HandshakeBroken {
        protocol: PROTOCOL,
        cause: Arc::new(error),
    })
}

/// What TLS has against the peer, or the peer against TLS, if that is what the error is about.
pub(super) fn explain(error: &io::Error) -> Option<TransportError> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(error) => certificate(problem(error)),
        Error::NoCertificatesPresented => certificate(CertificateProblem::Missing),
        Error::AlertReceived(alert) => TransportError::TlsRefused {
            alert: format!("{alert:?}"),
            advice: advice(*alert),
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => no_tls(
            "what it sent is no TLS; a plain endpoint (tcp:// or ws://) listens there, or something else",
        ),
        other => no_tls(&other.to_string()),
    })
}

pub(super) fn no_tls(problem: &str) -> TransportError {
    TransportError::HandshakeInvalid {
        protocol: PROTOCOL,
        problem: problem.to_owned(),
    }
}

fn certificate(problem: CertificateProblem) -> TransportError {
    TransportError::Certificate { problem }
}

fn problem(error: &CertificateError) -> CertificateProblem {
    use CertificateError as Found;
    match error {
        Found::Expired | Found::ExpiredContext { .. } => CertificateProblem::Expired,
        Found::NotValidYet | Found::NotValidYetContext { .. } => CertificateProblem::NotYetValid,
        Found::UnknownIssuer => CertificateProblem::UnknownIssuer,
        Found::Revoked => CertificateProblem::Revoked,
        Found::BadSignature => CertificateProblem::Invalid(
            "a signature is not by the key that it should be by, its issuer's or its own"
                .to_owned(),
        ),
        Found::NotValidForNameContext {
            expected,
            presented,
        } => CertificateProblem::WrongName {
            expected: shown(expected),
            presented: presented
                .iter()
                .take(NAMES.0)
                .map(|name| legible(name))
                .collect(),
        },
        Found::Other(OtherError(other)) => match other.downcast_ref::<NotPinned>() {
            Some(NotPinned(found)) => CertificateProblem::WrongFingerprint {
                found: found.to_string(),
            },
            // The crate that says so has no part in what is public of rustls.
            None if other.to_string() == "CaUsedAsEndEntity" => CertificateProblem::Authority,
            None => CertificateProblem::Invalid(other.to_string()),
        },
        other => CertificateProblem::Invalid(other.to_string()),
    }
}

fn shown(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

/// rustls writes them as `DnsName("example.org")`.
fn legible(name: &str) -> String {
    let name = name
        .split_once('(')
        .and_then(|(_kind, name)| name.strip_suffix(')'))
        .unwrap_or(name);
    name.trim_matches('"').chars().take(NAMES.1).collect()
}

fn advice(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => {
            "it wants to know who this client is; give the client a certificate with `identity`"
        }
        AlertDescription::UnknownCA => {
            "it does not trust the issuer of this end's certificate; have it trust that issuer, or that certificate"
        }
        AlertDescription::CertificateExpired => {
            "this end's certificate has expired, or the peer's clock is wrong; renew it"
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            "it does not accept this end's certificate; the peer's own error says why"
        }
        AlertDescription::NoApplicationProtocol => {
            "the two ends have no protocol in common (ALPN); use the same kind of endpoint, or the same `alpn`"
        }
        AlertDescription::ProtocolVersion => {
            "it speaks neither TLS 1.3 nor TLS 1.2; bring it up to date"
        }
        AlertDescription::UnrecognisedName => {
            "it has no certificate for the host that was dialled; dial the name that it knows"
        }
        AlertDescription::HandshakeFailure => {
            "the two ends have no cipher in common, or it wants a client certificate"
        }
        _ => "the peer's own error says why",
    }
}

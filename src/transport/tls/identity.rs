use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use futures_rustls::pki_types::pem::{Error as PemError, PemObject};
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::RootCertStore;

use super::setup;
use crate::transport::TransportError;

/// Who one end of a TLS connection is: a certificate, those of its issuers, and its private key.
#[derive(Clone)]
pub struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl Identity {
    /// Reads two PEM files: the certificate, followed by those of its issuers if it has some between
    /// itself and the root, and the private key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    ///
    /// [`TlsSetup`](TransportError::TlsSetup), naming the file.
    pub fn from_pem_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TransportError> {
        let (file, key_file) = (certificates.as_ref(), key.as_ref());
        Ok(Self {
            certificates: read_certificates(file)?,
            key: Arc::new(
                PrivateKeyDer::from_pem_file(key_file)
                    .map_err(|error| setup(explain(key_file, "private key", &error)))?,
            ),
        })
    }

    /// As [`from_pem_files`](Self::from_pem_files), from what is in such files.
    ///
    /// # Errors
    ///
    /// [`TlsSetup`](TransportError::TlsSetup).
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TransportError> {
        let certificates = parse_certificates(certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| setup("the PEM text has no readable private key".to_owned()))?;
        Ok(Self {
            certificates,
            key: Arc::new(key),
        })
    }

    /// The fingerprint of the certificate, for the other end to pin.
    pub fn fingerprint(&self) -> Fingerprint {
        let first = self.certificates.first();
        Fingerprint::of(first.map_or(&[], |certificate| certificate))
    }

    pub(super) fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.certificates.clone(), self.key.clone_key())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// The SHA-256 of a certificate in DER: what identifies it wherever fingerprints are shown.
///
/// It is read with colons or without, in either case, and written without, in lower case.
///
/// ```
/// use sessionwire::transport::Fingerprint;
///
/// let fingerprint = Fingerprint::of(b"a certificate");
/// assert_eq!(fingerprint.to_string().to_uppercase().parse::<Fingerprint>()?, fingerprint);
/// # Ok::<(), sessionwire::transport::TransportError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// That of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        for (byte, digest) in bytes.iter_mut().zip(digest.as_ref()) {
            *byte = *digest;
        }
        Self(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Self, TransportError> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|letter| *letter != ':')
            .map(|letter| {
                letter
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            })
            .collect();
        let bytes = digits.and_then(|digits| {
            let (pairs, rest) = digits.as_chunks::<2>();
            let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
            rest.is_empty().then(|| bytes.try_into().ok()).flatten()
        });
        bytes.map(Self).ok_or_else(|| {
            let shown: String = text.chars().take(128).collect();
            setup(format!(
                "{shown:?} is no fingerprint; write the SHA-256 of a certificate as 64 hexadecimal digits"
            ))
        })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({self})")
    }
}

/// Adds the certificates to those that are trusted.
pub(super) fn add_roots(
    roots: &mut RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<(), TransportError> {
    certificates.into_iter().try_for_each(|certificate| {
        roots
            .add(certificate)
            .map_err(|error| setup(format!("a root certificate cannot be trusted: {error}")))
    })
}

pub(super) fn parse_certificates(
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(setup("the PEM text has no readable certificate".to_owned())),
    }
}

pub(super) fn read_certificates(
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let failed = |error: PemError| setup(explain(file, "certificate", &error));
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(failed)?;
    if certificates.is_empty() {
        return Err(failed(PemError::NoItemsFound));
    }
    Ok(certificates)
}

fn explain(file: &Path, what: &str, error: &PemError) -> String {
    let file = file.display();
    match error {
        PemError::Io(error) => format!("cannot read {file}: {error}"),
        PemError::NoItemsFound => {
            format!("{file} has no {what} in PEM; name a file with a `-----BEGIN` line for one")
        }
        _ => format!("the {what} in {file} is no valid PEM"),
    }
}

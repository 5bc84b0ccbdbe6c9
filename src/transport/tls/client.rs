use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::client::WebPkiServerVerifier;
use futures_rustls::rustls::client::danger::ServerCertVerifier;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::ErrorKind;

use super::identity::{Fingerprint, Identity, add_roots, parse_certificates, read_certificates};
use super::pin::PinVerifier;
use super::{ForScheme, provider, setup};
use crate::transport::error::is_out_of_files;
use crate::transport::{Endpoint, TransportError};

/// Whom a client trusts over TLS, and who it is. Cheap to clone; clones resume each other's sessions.
///
/// ```no_run
/// use sessionwire::transport::{Identity, TlsClient, TransportConfig};
///
/// let tls = TlsClient::builder()
///     .ca_file("our-authority.pem")?
///     .identity(Identity::from_pem_files("client.pem", "client.key")?)
///     .build()?;
/// let config = TransportConfig::default().tls_client(tls);
/// # Ok::<(), sessionwire::transport::TransportError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TlsClient {
    config: ForScheme<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl TlsClient {
    /// Starts with trusting nobody.
    pub fn builder() -> TlsClientBuilder {
        TlsClientBuilder {
            roots: RootCertStore::empty(),
            pins: Vec::new(),
            identity: None,
            alpn: None,
            server_name: None,
        }
    }

    /// Trusts whom the operating system trusts, read once in each process.
    ///
    /// They are read from the system's store (rustls-native-certs) and judged by rustls, the same on
    /// every system. For the system's own judgement, with revocation, give
    /// [`from_config`](Self::from_config) a configuration with rustls-platform-verifier.
    ///
    /// # Errors
    ///
    /// [`TlsSetup`](TransportError::TlsSetup) if there are none, [`OutOfFiles`](TransportError::OutOfFiles)
    /// if they cannot be read now.
    pub fn native_roots() -> Result<Self, TransportError> {
        static NATIVE: OnceLock<TlsClient> = OnceLock::new();
        if let Some(client) = NATIVE.get() {
            return Ok(client.clone());
        }
        let client = Self::builder().native_roots()?.build()?;
        Ok(NATIVE.get_or_init(|| client).clone())
    }

    /// Uses a configuration of one's own exactly as it is, its ALPN protocols included.
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self {
            config: ForScheme::same(config),
            server_name: None,
        }
    }

    pub(super) fn config(&self, endpoint: &Endpoint) -> Arc<ClientConfig> {
        self.config.of(endpoint.scheme())
    }

    /// The name that the server's certificate must be for.
    pub(super) fn server_name(
        &self,
        endpoint: &Endpoint,
    ) -> Result<ServerName<'static>, TransportError> {
        if let Some(name) = &self.server_name {
            return Ok(name.clone());
        }
        let host = endpoint.host().unwrap_or_default();
        name(host)
    }
}

/// What a [`TlsClient`] is made of.
#[derive(Clone, Debug)]
#[must_use]
pub struct TlsClientBuilder {
    roots: RootCertStore,
    pins: Vec<Fingerprint>,
    identity: Option<Identity>,
    alpn: Option<Vec<Vec<u8>>>,
    server_name: Option<ServerName<'static>>,
}

impl TlsClientBuilder {
    /// Trusts whom the operating system trusts.
    ///
    /// # Errors
    ///
    /// [`TlsSetup`](TransportError::TlsSetup) if there are none, [`OutOfFiles`](TransportError::OutOfFiles)
    /// if they cannot be read now.
    pub fn native_roots(mut self) -> Result<Self, TransportError> {
        let mut found = rustls_native_certs::load_native_certs();
        let shortage = |error: &rustls_native_certs::Error| match &error.kind {
            ErrorKind::Io { inner, .. } => is_out_of_files(inner),
            _ => false,
        };
        if let Some(place) = found.errors.iter().position(shortage) {
            let cause = Arc::new(io::Error::other(found.errors.swap_remove(place)));
            return Err(TransportError::OutOfFiles { cause });
        }
        let (added, _ignored) = self.roots.add_parsable_certificates(found.certs);
        if added > 0 {
            return Ok(self);
        }
        let reason = match found.errors.first() {
            Some(error) => format!(": {error}"),
            None => String::new(),
        };
        Err(setup(format!(
            "this system has no root certificates{reason}; install them (ca-certificates), or name \
             those to trust with `ca_file` or `pin`"
        )))
    }

    /// Trusts the certificates of a PEM file, and who is certified by them.
    ///
    /// # Errors
    ///
    /// [`TlsSetup`](TransportError::TlsSetup), naming the file.
    pub fn ca_file(mut self, file: impl AsRef<Path>) -> Result<Self, TransportError> {
        add_roots(&mut self.roots, read_certificates(file.as_ref())?)?;
        Ok(self)
    }

    /// As [`ca_file`](Self::ca_file), from what is in such a file.
    ///
    /// # Errors
    ///
    /// [`TlsSetup`](TransportError::TlsSetup).
    pub fn ca_pem(mut self, pem: &[u8]) -> Result<Self, TransportError> {
        add_roots(&mut self.roots, parse_certificates(pem)?)?;
        Ok(self)
    }

    /// Trusts the server that has exactly this certificate, whoever issued it, whatever its name and
    /// dates; and with that nobody else, but for those of further pins.
    pub fn pin(mut self, fingerprint: Fingerprint) -> Self {
        self.pins.push(fingerprint);
        self
    }

    /// What to show to a server that asks who the client is (mutual TLS).
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The protocols to offer by ALPN. Default: `sessionwire/1` for `tls://`, `http/1.1` for `wss://`.
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = Some(protocols.into_iter().map(Into::into).collect());
        self
    }

    /// The name that the server's certificate must be for. Default: the endpoint's host.
    ///
    /// # Errors
    ///
    /// [`TlsSetup`](TransportError::TlsSetup) for what is neither a host's name nor an address.
    pub fn server_name(mut self, host: &str) -> Result<Self, TransportError> {
        self.server_name = Some(name(host)?);
        Ok(self)
    }

    /// # Errors
    ///
    /// [`TlsSetup`](TransportError::TlsSetup) if it would trust nobody, if it has both roots and pins,
    /// or if the identity's key does not belong to its certificate.
    pub fn build(self) -> Result<TlsClient, TransportError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| setup(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier(self.roots, self.pins)?);
        let config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (certificates, key) = identity.parts();
                builder
                    .with_client_auth_cert(certificates, key)
                    .map_err(|error| super::unusable_identity(&error))?
            }
        };
        Ok(TlsClient {
            config: ForScheme::with_alpn(&config, self.alpn.as_deref(), |config, alpn| {
                config.alpn_protocols = alpn;
            }),
            server_name: self.server_name,
        })
    }
}

fn verifier(
    roots: RootCertStore,
    pins: Vec<Fingerprint>,
) -> Result<Arc<dyn ServerCertVerifier>, TransportError> {
    let verifier: Arc<dyn ServerCertVerifier> = match (roots.is_empty(), pins.is_empty()) {
        (true, true) => {
            return Err(setup(
                "the client trusts nobody; choose `native_roots`, `ca_file` or `pin`".to_owned(),
            ));
        }
        (false, false) => {
            return Err(setup(
                "a pinned certificate needs no issuer; choose either `pin`, or `native_roots` and `ca_file`"
                    .to_owned(),
            ));
        }
        (true, false) => Arc::new(PinVerifier::new(pins, provider())),
        (false, true) => WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| setup(error.to_string()))?,
    };
    Ok(verifier)
}

fn name(host: &str) -> Result<ServerName<'static>, TransportError> {
    ServerName::try_from(host.to_owned()).map_err(|_| {
        setup(format!(
            "{host:?} is no name that a certificate can be for; give one with `server_name`"
        ))
    })
}

use std::path::Path;
use std::sync::Arc;

use futures_rustls::rustls::server::WebPkiClientVerifier;
use futures_rustls::rustls::{RootCertStore, ServerConfig};

use super::identity::{Fingerprint, Identity, add_roots};
use super::{ForScheme, provider, setup};
use crate::transport::{Endpoint, TransportError};

/// Who a server is over TLS, and whether its clients must say who they are. Cheap to clone.
///
/// ```no_run
/// use sessionwire::transport::{Identity, TlsServer, TransportConfig};
///
/// let identity = Identity::from_pem_files("server.pem", "server.key")?;
/// let tls = TlsServer::builder(identity).client_ca_file("our-clients.pem")?.build()?;
/// let config = TransportConfig::default().tls_server(tls);
/// # Ok::<(), sessionwire::transport::TransportError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TlsServer {
    config: ForScheme<ServerConfig>,
}

impl TlsServer {
    /// Starts with a server that accepts any client.
    pub fn builder(identity: Identity) -> TlsServerBuilder {
        TlsServerBuilder {
            identity,
            roots: RootCertStore::empty(),
            optional: false,
            alpn: None,
        }
    }

    /// Uses a configuration of one's own exactly as it is, its ALPN protocols included.
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self {
            config: ForScheme::same(config),
        }
    }

    pub(super) fn config(&self, endpoint: &Endpoint) -> Arc<ServerConfig> {
        self.config.of(endpoint.scheme())
    }
}

/// What a [`TlsServer`] is made of.
#[derive(Clone, Debug)]
#[must_use]
pub struct TlsServerBuilder {
    identity: Identity,
    roots: RootCertStore,
    optional: bool,
    alpn: Option<Vec<Vec<u8>>>,
}

impl TlsServerBuilder {
    /// Demands of each client a certificate that was issued by one in that PEM file (mutual TLS).
    ///
    /// # Errors
    ///
    /// [`TlsSetup`](TransportError::TlsSetup), naming the file.
    pub fn client_ca_file(mut self, file: impl AsRef<Path>) -> Result<Self, TransportError> {
        add_roots(&mut self.roots, file.as_ref())?;
        Ok(self)
    }

    /// Whether a client may do without a certificate; one that it does show must still be good.
    /// Default: no, if [`client_ca_file`](Self::client_ca_file) was called.
    pub fn client_certificate_optional(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }

    /// The protocols to agree on by ALPN, most wanted first; a client that offers only others is
    /// refused. Default: `sessionwire/1` for `tls://`, `http/1.1` for `wss://`.
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = Some(protocols.into_iter().map(Into::into).collect());
        self
    }

    /// The fingerprint of the server's certificate, for clients to pin.
    pub fn fingerprint(&self) -> Fingerprint {
        self.identity.fingerprint()
    }

    /// # Errors
    ///
    /// [`TlsSetup`](TransportError::TlsSetup) if the identity's key does not belong to its certificate.
    pub fn build(self) -> Result<TlsServer, TransportError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| setup(error.to_string()))?;
        let builder = if self.roots.is_empty() {
            builder.with_no_client_auth()
        } else {
            let roots = Arc::new(self.roots);
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            if self.optional {
                verifier = verifier.allow_unauthenticated();
            }
            let verifier = verifier.build().map_err(|error| setup(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        };
        let (certificates, key) = self.identity.parts();
        let config = builder
            .with_single_cert(certificates, key)
            .map_err(|error| super::unusable_identity(&error))?;
        Ok(TlsServer {
            config: ForScheme::with_alpn(&config, self.alpn, |config, alpn| {
                config.alpn_protocols = alpn;
            }),
        })
    }
}

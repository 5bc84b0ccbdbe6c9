//! Certificates, and what is in between: what the options say about them.

use sessionwire::transport::{
    HttpProxy, Identity, TlsClient, TlsServer, TransportConfig, TransportError, WsClient,
};

use crate::arguments::{ClientOptions, ServeOptions};
use crate::failure::Failure;
use crate::output::say;

impl ClientOptions {
    /// How to connect.
    pub(crate) fn transport(&self) -> Result<TransportConfig, Failure> {
        let mut client = WsClient::default();
        for (name, value) in &self.header {
            client = client.header(name, value)?;
        }
        if let Some(token) = &self.bearer {
            client = client.bearer(token)?;
        }
        let mut config = TransportConfig::default().ws_client(client);
        config.proxy = self.proxy()?;
        config.tls_client = self.tls()?;
        Ok(config)
    }

    fn proxy(&self) -> Result<Option<HttpProxy>, TransportError> {
        match self.proxy.as_deref() {
            None => Ok(None),
            Some("env") => HttpProxy::from_env(),
            Some(url) => HttpProxy::new(url).map(Some),
        }
    }

    /// Whom to trust, if the options say anything about that.
    fn tls(&self) -> Result<Option<TlsClient>, TransportError> {
        if self.ca.is_none() && self.pin.is_none() && self.cert.is_none() {
            return Ok(None);
        }
        let builder = TlsClient::builder();
        let mut builder = match (&self.ca, self.pin) {
            (Some(file), _) => builder.ca_file(file)?,
            (None, Some(pin)) => builder.pin(pin),
            (None, None) => builder.native_roots()?,
        };
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            builder = builder.identity(Identity::from_pem_files(certificate, key)?);
        }
        builder.build().map(Some)
    }
}

impl ServeOptions {
    /// How to listen. It prints the fingerprint of a certificate that it makes.
    pub(crate) fn transport(&self) -> Result<TransportConfig, Failure> {
        let identity = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => Identity::from_pem_files(certificate, key)?,
            _ if self.self_signed => {
                let made = self_signed()?;
                say(&format!("certificate sha256 {}", made.fingerprint()))?;
                made
            }
            _ if self.client_ca.is_some() => {
                let hint = "use --cert and --key, or --self-signed";
                return Err(Failure::new(
                    "--client-ca is for TLS, which needs a certificate",
                    hint,
                ));
            }
            _ => return Ok(TransportConfig::default()),
        };
        let mut builder = TlsServer::builder(identity);
        if let Some(file) = &self.client_ca {
            builder = builder.client_ca_file(file)?;
        }
        Ok(TransportConfig::default().tls_server(builder.build()?))
    }
}

/// A server with a certificate of its own making, and a client that trusts it alone.
pub(crate) fn both_ends() -> Result<TransportConfig, Failure> {
    let identity = self_signed()?;
    let client = TlsClient::builder().pin(identity.fingerprint()).build()?;
    let server = TlsServer::builder(identity).build()?;
    Ok(TransportConfig::default()
        .tls_client(client)
        .tls_server(server))
}

fn self_signed() -> Result<Identity, Failure> {
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(|error| {
            Failure::new(
                format!("no certificate could be made: {error}"),
                "use --cert and --key",
            )
        })?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    Ok(Identity::from_pem(certificate.as_bytes(), key.as_bytes())?)
}

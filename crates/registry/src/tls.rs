//! TLS: whom we trust, and who we are.
//!
//! Trust is the system's bundle (or `SSL_CERT_FILE`) and the registry's own folder in `certs.d`. As in Go, a
//! certificate that stands in the bundle itself is trusted as the server's too: that is how most private
//! registries sign. Nothing here touches the network.

use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::settings::Settings;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// A bundle of all authorities of the world is 250 kB.
const MAX_PEM_BYTES: u64 = 16 << 20;
/// Files in one folder of certificates.
const MAX_FILES: usize = 4096;

/// How a connection to `endpoint` is secured. `lenient`: any certificate will do.
pub(crate) fn config(settings: &Settings, endpoint: &Endpoint, lenient: bool) -> Result<Arc<ClientConfig>> {
    let wrong = |why: String| Error::Tls(why);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let own = Own::read(settings, &endpoint.authority)?;
    let authorities = match lenient {
        true => None,
        false => Some(Authorities::new(&provider, trusted(settings, own.authorities))?),
    };
    let verifier = Arc::new(Verifier { provider: provider.clone(), authorities });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own.identity {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| wrong(format!("client certificate: {e}")))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What `certs.d/HOST` holds.
#[derive(Default)]
struct Own {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Own {
    fn read(settings: &Settings, authority: &str) -> Result<Own> {
        let mut own = Own::default();
        // The reference's grammar has no slash here, but this becomes a path.
        if authority.contains('/') || authority.starts_with('.') {
            return Ok(own);
        }
        for folder in &settings.certs {
            let folder = folder.join(authority);
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for path in entries.take(MAX_FILES).filter_map(|e| Some(e.ok()?.path())) {
                match path.extension().and_then(|e| e.to_str()) {
                    Some("crt") => own.authorities.extend(certificates(&path)),
                    Some("cert") => {
                        let key = path.with_extension("key");
                        let missing = || {
                            Error::Tls(format!(
                                "missing key {} for client certificate {}. CA certificates must use the extension .crt",
                                key.display(),
                                path.display()
                            ))
                        };
                        let pem = read(&key).ok_or_else(missing)?;
                        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| missing())?;
                        own.identity = Some((certificates(&path), key));
                    }
                    _ => {}
                }
            }
        }
        Ok(own)
    }
}

fn trusted(settings: &Settings, mut all: Vec<CertificateDer<'static>>) -> Vec<CertificateDer<'static>> {
    if let Some(pem) = settings.bundles.iter().find_map(|path| read(path)) {
        all.extend(CertificateDer::pem_slice_iter(&pem).flatten());
    }
    for folder in &settings.bundle_folders {
        let entries = std::fs::read_dir(folder).into_iter().flatten().take(MAX_FILES).flatten();
        all.extend(entries.flat_map(|entry| certificates(&entry.path())));
    }
    all
}

/// The certificates of a PEM file; what is none is passed over.
fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    read(path).map(|pem| CertificateDer::pem_slice_iter(&pem).flatten().collect()).unwrap_or_default()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_PEM_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Checks a server's certificate and that the server has its key.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None trusts anybody: for loopback and registries that are named as insecure.
    authorities: Option<Authorities>,
}

#[derive(Debug)]
struct Authorities {
    /// None when there is no authority at all: then nobody is trusted.
    chains: Option<Arc<WebPkiServerVerifier>>,
    all: Vec<CertificateDer<'static>>,
}

impl Authorities {
    fn new(provider: &Arc<CryptoProvider>, all: Vec<CertificateDer<'static>>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(all.iter().cloned());
        let chains = if roots.is_empty() {
            None
        } else {
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            Some(builder.build().map_err(|e| Error::Tls(e.to_string()))?)
        };
        Ok(Authorities { chains, all })
    }

    fn verify(
        &self,
        end: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let verdict = match &self.chains {
            Some(chains) => chains.verify_server_cert(end, intermediates, name, ocsp, now),
            None => Err(unknown),
        };
        let itself = || self.all.iter().any(|known| known.as_ref() == end.as_ref());
        match verdict {
            // An authority may not be a server by RFC 5280; in Go, one that is trusted may.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Other(_) | CertificateError::UnknownIssuer,
            )) if itself() => {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.authorities {
            Some(authorities) => authorities.verify(end, intermediates, name, ocsp, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A failed handshake in Go's words, where it has some.
pub(crate) fn explain(error: &rustls::Error, host: &str) -> String {
    use CertificateError as C;
    let why = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            C::UnknownIssuer => "x509: certificate signed by unknown authority".to_owned(),
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                format!("x509: certificate is not valid for {host}")
            }
            C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => {
                "x509: certificate has expired or is not yet valid".to_owned()
            }
            other => format!("x509: {other:?}"),
        },
        other => return format!("tls: {other}"),
    };
    format!("tls: failed to verify certificate: {why}")
}

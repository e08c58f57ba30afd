//! The listener: connections in, a bounded number of them, and a graceful end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, Version, header};
use axum::response::IntoResponse as _;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;

use super::Stop;
use super::problem::ApiError;

/// Bytes of a request's line and headers together; an address has at most 65,534 of them.
const HEAD_MAX: usize = 100 * 1_024;

/// After which a trouble that stays is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Where and how to listen.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address; this machine only unless told otherwise.
    pub listen: SocketAddr,
    /// Most connections at once; further ones wait to be accepted.
    pub connections: usize,
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// How long a client may take none of an answer that waits for it.
    pub answer_timeout: Duration,
    /// How long requests under way may take to end at shutdown.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8484)),
            connections: 4_096,
            header_timeout: Duration::from_secs(15),
            answer_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// Binds an address.
///
/// # Errors
/// When it cannot be bound, with what mends it.
pub async fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let mend = "end what listens there, or name another address with --listen";
        io::Error::new(error.kind(), format!("listen on {address}: {error}; {mend}"))
    })
}

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    router: Router,
    stop: Stop,
    config: Config,
}

impl Server {
    /// Binds the address; nothing is served before [`Server::run`].
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(config: Config, router: Router, stop: Stop) -> io::Result<Self> {
        let listener = listener(config.listen).await?;
        Ok(Self { listener, router, stop, config })
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready; then takes no more connections, ends the streams and gives
    /// requests under way [`Config::drain`] to end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let connections = Arc::new(Semaphore::new(self.config.connections));
        let graceful = GracefulShutdown::new();
        tokio::pin!(shutdown);
        let mut told = None;
        loop {
            // The semaphore is never closed; a permit ends with its connection.
            let permit = tokio::select! {
                permit = connections.clone().acquire_owned() => permit,
                () = &mut shutdown => break,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut shutdown => break,
            };
            match accepted {
                Ok((stream, _)) => self.serve(stream, permit, &graceful),
                Err(error) => {
                    // Out of file handles, most likely: give others time to close theirs.
                    if told.is_none_or(|told: Instant| told.elapsed() > TOLD_AGAIN) {
                        told = Some(Instant::now());
                        tracing::error!(%error, "connections could not be accepted; they wait, and this is told once a minute");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.listener);
        self.stop.send_replace(true);
        if tokio::time::timeout(self.config.drain, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not end in time and were cut off");
        }
    }

    fn serve(&self, stream: TcpStream, permit: impl Send + 'static, graceful: &GracefulShutdown) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no nodelay on a connection");
        }
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |request| {
            let answer = check_host(&request).map(|()| router.call(request));
            async move {
                match answer {
                    Ok(answer) => answer.await,
                    Err(fault) => Ok(fault.into_response()),
                }
            }
        });
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.config.answer_timeout));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.header_timeout)
            .max_header_size(HEAD_MAX)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection broke off");
            }
            drop(permit);
        });
    }
}

/// A request of HTTP/1.1 names one host (RFC 9112, section 3.2): a proxy and we could otherwise read two.
fn check_host<B>(request: &Request<B>) -> Result<(), ApiError> {
    let named = request.headers().get_all(header::HOST).iter().count();
    if named == 1 || (named == 0 && request.version() == Version::HTTP_10) {
        return Ok(());
    }
    Err(ApiError::new("bad_header", "Send the header Host once, with the name that this server is asked by.")
        .at("host"))
}

/// Ready when the process is asked to end (interrupt or terminate).
///
/// # Errors
/// When signals cannot be listened for.
#[cfg(unix)]
pub fn asked_to_end() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

//! `/metrics`, `/healthz` and `/readyz` over HTTP/1.1, on a thread of its own with limits of its own: whatever
//! happens here, the SQL port does not notice.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Metrics;

/// Connections at once; the next ones wait in the kernel's queue, where they cost no descriptor.
const MAX_CONNECTIONS: usize = 32;
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// How long a head may take, …
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// … and how long a whole connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// After `accept` fails (no descriptors left), how long to wait.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Says whether the proxy can serve: the catalog is loaded and a server can be reached.
pub type Ready = Arc<dyn Fn() -> bool + Send + Sync>;

/// A running endpoint. Dropped, it stops.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens (the port that was chosen, where 0 was asked for).
    pub address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the metrics endpoint has panicked");
        }
    }
}

/// Starts the endpoint.
pub fn start(address: SocketAddr, metrics: Arc<Metrics>, ready: Ready) -> io::Result<Endpoint> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let pages = Pages { metrics, ready };
    let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        runtime.block_on(async {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    stopped.run_until_cancelled(serve(listener, pages)).await;
                }
                Err(error) => tracing::error!(%error, "the metrics endpoint does not listen"),
            }
        });
    })?;
    Ok(Endpoint { address, stop, thread: Some(thread) })
}

#[derive(Clone)]
struct Pages {
    metrics: Arc<Metrics>,
    ready: Ready,
}

/// Accepts until it is dropped.
async fn serve(listener: TcpListener, pages: Pages) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(permit) = room.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = pages.clone();
                tokio::spawn(async move {
                    // What a client does wrong is its own affair: a closed connection says enough.
                    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, pages)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the metrics endpoint cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, pages: Pages) -> hyper::Result<()> {
    let service = hyper::service::service_fn(move |request| {
        let response = pages.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

impl Pages {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => match self.metrics.render() {
                Ok(text) => page(StatusCode::OK, text),
                Err(error) => {
                    tracing::error!(%error, "metrics cannot be shown");
                    page(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be shown\n")
                }
            },
            "/healthz" => page(StatusCode::OK, "ok\n"),
            "/readyz" if (self.ready)() => page(StatusCode::OK, "ready\n"),
            "/readyz" => page(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            _ => page(StatusCode::NOT_FOUND, "see /metrics, /healthz and /readyz\n"),
        }
    }
}

fn page(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn endpoint(ready: &Arc<AtomicBool>) -> Endpoint {
        let ready = ready.clone();
        let metrics = Arc::new(Metrics::new().unwrap());
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        start(local, metrics, Arc::new(move || ready.load(Ordering::Relaxed))).unwrap()
    }

    #[test]
    fn pages_are_shown_and_others_are_not() {
        let ready = Arc::new(AtomicBool::new(false));
        let endpoint = endpoint(&ready);
        let get =
            |path: &str| ask(endpoint.address, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        assert!(get("/metrics").contains("pgbulkhead_clients 0"));
        assert!(get("/healthz").starts_with("HTTP/1.1 200"));
        assert!(get("/readyz").starts_with("HTTP/1.1 503"));
        ready.store(true, Ordering::Relaxed);
        assert!(get("/readyz").starts_with("HTTP/1.1 200"));
        assert!(get("/").starts_with("HTTP/1.1 404"));
        let post = ask(endpoint.address, b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    }

    #[test]
    fn a_head_has_its_limits() {
        let endpoint = endpoint(&Arc::new(AtomicBool::new(true)));
        let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(1 << 20));
        assert!(!ask(endpoint.address, long.as_bytes()).contains("pgbulkhead_clients"));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
        assert!(!ask(endpoint.address, many.as_bytes()).contains("pgbulkhead_clients"));
        assert!(ask(endpoint.address, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").ends_with("ok\n"));
    }
}

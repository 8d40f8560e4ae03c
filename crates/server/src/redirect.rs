//! Plain HTTP on the TLS port: everything is sent to https.

use std::convert::Infallible;

use http::header::{HOST, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::http::body::Body;
use crate::http::reply::respond;

/// Answers one plain HTTP connection.
pub(crate) async fn serve(stream: TcpStream) {
    let service =
        hyper::service::service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(&request)) });
    let served =
        hyper::server::conn::http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "plain HTTP connection broke off");
    }
}

fn answer<B>(request: &Request<B>) -> Response<Body> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty());
    let location = host.and_then(|host| HeaderValue::from_str(&format!("https://{host}")).ok());
    let Some(location) = location else { return respond(StatusCode::BAD_REQUEST, None, Body::empty()) };
    let status = match *request.method() {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    let mut response = respond(status, None, Body::empty());
    response.headers_mut().insert(LOCATION, location);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_and_host_are_redirected() {
        let request = |method, host: Option<&str>| {
            let mut builder = Request::builder().method(method).uri("/some/path?x=1");
            if let Some(host) = host {
                builder = builder.header(HOST, host);
            }
            answer(&builder.body(()).unwrap())
        };
        let get = request(Method::GET, Some("name:8007"));
        assert_eq!((get.status().as_u16(), get.headers()[LOCATION].to_str().unwrap()), (301, "https://name:8007"));
        assert_eq!(request(Method::POST, Some("name:8007")).status(), 308);
        assert_eq!(request(Method::GET, None).status(), 400);
    }
}

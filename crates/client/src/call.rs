use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, header::HeaderValue};
use serde_json::Value;

/// What we call ourselves; servers do not look at it.
pub(crate) const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("backup-replicator/", env!("CARGO_PKG_VERSION")));

/// What travels in the body of a request.
#[derive(Debug, Clone)]
enum Payload {
    None,
    Json(Bytes),
    Octets(Bytes),
}

/// One request, for REST or inside a session: what an official client would send, keys in alphabetical order.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: BTreeMap<&'static str, String>,
    payload: Payload,
}

impl Call {
    /// Makes a request to `path`, which starts with `/` and is relative to the API's or the session's root.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: BTreeMap::new(), payload: Payload::None }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(crate) fn query(mut self, key: &'static str, value: impl ToString) -> Self {
        self.query.insert(key, value.to_string());
        self
    }

    /// Adds a parameter unless there is none.
    pub(crate) fn query_some(self, key: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    /// Sends parameters as JSON instead of in the query.
    pub(crate) fn json(mut self, parameters: &BTreeMap<&'static str, Value>) -> Self {
        let members = parameters.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let object = Value::Object(members.collect());
        self.payload = Payload::Json(object.to_string().into());
        self
    }

    pub(crate) fn octets(mut self, body: Bytes) -> Self {
        self.payload = Payload::Octets(body);
        self
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// Returns path and query behind `prefix`; queries are form-encoded, an empty one leaves no `?`.
    pub(crate) fn target(&self, prefix: &str) -> String {
        let mut target = format!("{prefix}{}", self.path);
        if !self.query.is_empty() {
            target.push('?');
            target.push_str(&form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish());
        }
        target
    }

    /// Names the request in errors.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.method, self.target(""))
    }

    /// Returns the content type; also requests without a body carry one.
    pub(crate) fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.payload {
            Payload::None => "application/x-www-form-urlencoded",
            Payload::Json(_) => "application/json",
            Payload::Octets(_) => "application/octet-stream",
        })
    }

    pub(crate) fn body(&self) -> Bytes {
        match &self.payload {
            Payload::None => Bytes::new(),
            Payload::Json(body) | Payload::Octets(body) => body.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_sorted_and_form_encoded() {
        let call = Call::get("/reader").query("store", "s1").query("ns", "a/b c").query("backup-id", "x@y");

        assert_eq!(call.target("//api2/json"), "//api2/json/reader?backup-id=x%40y&ns=a%2Fb+c&store=s1");
    }

    #[test]
    fn without_parameters_there_is_no_question_mark() {
        assert_eq!(Call::get("/version").query_some("ns", None::<&str>).target("/api2/json"), "/api2/json/version");
    }

    #[test]
    fn json_parameters_are_sorted() {
        let parameters = BTreeMap::from([("username", Value::from("u")), ("password", Value::from("p"))]);

        let body = Call::post("/access/ticket").json(&parameters).body();

        assert_eq!(body, r#"{"password":"p","username":"u"}"#);
    }
}

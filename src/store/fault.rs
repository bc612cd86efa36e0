//! A store's errors as ours: place, fact, hint, and no secret.

use crate::error::Error;

/// What stands before a request in the text of a store's error.
const REQUEST: &str = "Error performing ";

/// A failure, told by its text. Where the text tells of a request to a store, it is cut down to the request and what came
/// of it: the rest repeats the server's answer, which may hold parts of credentials.
pub fn of_text(text: &str) -> Error {
    let Some(at) = text.find(REQUEST) else { return Error::of_system(text.to_owned()) };
    let request = &text[at + REQUEST.len()..];
    let (head, cause) = request.split_once(" - ").unwrap_or((request, ""));
    let mut words = head.split_whitespace();
    let method = words.next().unwrap_or_default();
    let address = words.next().unwrap_or_default().split('?').next().unwrap_or_default();
    let fact = fact(cause);
    let retries = head.split_once(", after ").and_then(|(_, rest)| rest.split_once(" retries"));
    let tried = retries.map(|(count, _)| format!(", after {count} retries")).unwrap_or_default();
    let error = Error::failed(format!("{method} {address}: {fact}{tried}"));
    match hint(address, &fact) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What the server says, or why it says nothing.
fn fact(cause: &str) -> String {
    let status = cause.split_once("status code: ").map_or(cause, |(_, status)| status);
    let status = status.split([':', '<', '\n']).next().unwrap_or_default().trim();
    let code = cause.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    match code {
        Some((code, _)) => format!("{status} ({code})"),
        None if cause.starts_with("HTTP error: ") => {
            cause["HTTP error: ".len()..].lines().next().unwrap_or_default().to_owned()
        }
        None => status.to_owned(),
    }
}

fn hint(address: &str, fact: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|word| fact.contains(word));
    // Where a cloud's own machines ask for credentials.
    if address.contains("//169.254.169.254") || address.contains("//metadata.google") {
        return Some("no credentials are set; for S3 they are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    if has(&["NoSuchBucket", "ContainerNotFound"]) {
        return Some("check the bucket's name, and that the endpoint is the right one");
    }
    if has(&["400", "401", "403"]) {
        return Some("check the credentials in the environment, and what they are allowed to do");
    }
    if has(&["error sending request", "connect", "timed out"]) {
        return Some("check the network and the endpoint (AWS_ENDPOINT_URL, with AWS_ALLOW_HTTP=true for http)");
    }
    has(&["500", "502", "503", "504"]).then_some("the server is at fault: run again later")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_and_what_came_of_it_are_told() {
        let text = "Failed to read: Generic S3 error: Error performing GET http://host/b?list-type=2&prefix=x in 1.2ms, \
                    after 3 retries, max_retries: 10, retry_timeout: 180s  - Server returned non-2xx status code: \
                    404 Not Found: <?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><BucketName>b</BucketName></Error>";
        let told = of_text(text).to_string();
        assert!(
            told.starts_with("GET http://host/b: 404 Not Found (NoSuchBucket), after 3 retries\n  hint: check"),
            "{told}"
        );
    }

    #[test]
    fn parts_of_credentials_are_not_told() {
        let text = "Generic S3 error: Error performing PUT http://host/b/k in 2ms - Server returned non-2xx status code: \
                    403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA123</AWSAccessKeyId></Error>";
        let told = of_text(text).to_string();
        assert!(
            !told.contains("AKIA123") && told.contains("SignatureDoesNotMatch") && told.contains("credentials"),
            "{told}"
        );
    }

    #[test]
    fn a_server_that_is_not_there_is_told() {
        let text = "Generic S3 error: Error performing GET http://host:1/b in 2s, after 10 retries, max_retries: 10, \
                    retry_timeout: 180s  - HTTP error: error sending request";
        let told = of_text(text).to_string();
        assert!(
            told.starts_with("GET http://host:1/b: error sending request, after 10 retries\n  hint: check the network"),
            "{told}"
        );
    }
}

//! The explorer's pages, from the folder `web/`, built into the program: nothing is read from a disk or fetched from elsewhere.
//!
//! Every address of a page answers with the same document; its script reads the address and asks this API. The headers let a browser load nothing from
//! outside, run nothing that is not a file of ours, and make no markup out of text.

use crate::problem::{Code, Problem};
use axum::Router;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sheaf_protocol::field::keccak;
use tower_http::compression::CompressionLayer;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal: $kind:ident,)*) => { &[$(($name, $kind, include_bytes!(concat!("../../../web/", $name)))),*] };
}

/// Every file by name, with its type.
const FILES: &[(&str, &str, &[u8])] = files! {
    "index.html": HTML,
    "style.css": CSS,
    "icon.svg": SVG,
    "theme.js": JS,
    "app.js": JS,
    "api.js": JS,
    "chart.js": JS,
    "dom.js": JS,
    "format.js": JS,
    "parts.js": JS,
    "pages/overview.js": JS,
    "pages/batches.js": JS,
    "pages/transactions.js": JS,
    "pages/slots.js": JS,
    "pages/queue.js": JS,
    "pages/fleet.js": JS,
    "pages/search.js": JS,
};

/// Addresses of pages.
const PAGES: [&str; 10] =
    ["/", "/batches", "/batches/{id}", "/transactions", "/transactions/{id}", "/slots", "/slots/{id}", "/queue", "/fleet", "/search"];

/// What a browser may do with a page.
const HEADERS: [(&str, &str); 8] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    // the tag below makes asking again cheap, and a new program is seen at once
    ("cache-control", "no-cache"),
];

/// The pages and their files.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let pages = PAGES.iter().fold(Router::new(), |router, path| router.route(path, get(page)));
    pages.route("/assets/{*name}", get(asset)).layer(from_fn(protect)).layer(CompressionLayer::new())
}

async fn page(headers: HeaderMap) -> Response {
    send("index.html", &headers)
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    send(&name, &headers)
}

fn send(name: &str, asked: &HeaderMap) -> Response {
    let Some((_, kind, bytes)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return Problem::new(Code::NotFound, "the pages have no such file").into_response();
    };
    let tag = format!("\"{}\"", hex::encode(&keccak(bytes)[..8]));
    // a proxy that compresses marks the tag as weak
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    if known.flat_map(|tags| tags.split(',')).any(|known| known.trim().trim_start_matches("W/") == tag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    ([(header::CONTENT_TYPE, (*kind).to_owned()), (header::ETAG, tag)], *bytes).into_response()
}

async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeSet;

    fn text(name: &str) -> &'static str {
        std::str::from_utf8(FILES.iter().find(|(known, ..)| *known == name).unwrap().2).unwrap()
    }

    /// Names of files below `folder`, from there.
    fn below(folder: &std::path::Path, prefix: &str) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let names = entries.flat_map(|entry| {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() { below(&entry.path(), &format!("{name}/")) } else { vec![name] }
        });
        names.collect()
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
        let found: BTreeSet<String> = below(&folder, "").into_iter().filter(|name| !name.ends_with(".md")).collect();
        assert_eq!(found, FILES.iter().map(|(name, ..)| (*name).to_owned()).collect());
    }

    #[test]
    fn files_need_nothing_from_outside_and_make_no_markup_of_text() {
        let banned = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "setHTML",
            "javascript:",
            "@import",
            "url(",
            "onclick=",
            "onload=",
            "onerror=",
        ];
        for (name, ..) in FILES {
            for word in banned {
                assert!(!text(name).contains(word), "{name} has {word}");
            }
            // the name of SVG's elements is no address that is loaded
            let outside = text(name).replace("http://www.w3.org/2000/svg", "");
            assert!(!outside.contains("http://") && !outside.contains("https://") && !outside.contains("\"//"), "{name} names another host");
        }
        let page = text("index.html");
        assert!(!page.contains("style=") && !page.contains("<style"), "inline styles are refused by the browser");
        assert_eq!(page.matches("<script").count(), page.matches(" src=\"/assets/").count() - page.matches("<img").count());
    }

    #[test]
    fn imports_name_files_that_there_are() {
        for (name, ..) in FILES.iter().filter(|(name, ..)| name.ends_with(".js")) {
            for imported in text(name).split(" from \"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let path = imported.trim_start_matches("./").trim_start_matches("../");
                let prefix = if name.starts_with("pages/") && imported.starts_with("./") { "pages/" } else { "" };
                assert!(FILES.iter().any(|(known, ..)| *known == format!("{prefix}{path}")), "{name} imports {imported}");
            }
        }
    }
}

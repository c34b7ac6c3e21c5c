//! What a browser would make of a page, as far as a test asks.

use super::client::Answer;

/// What holds of every page, whatever it says.
pub(super) fn check(answer: &Answer) {
    check_in(answer, "en");
}

/// The same of a page in a language.
pub(super) fn check_in(answer: &Answer, language: &str) {
    let policy = answer.header("content-security-policy").unwrap();
    for directive in ["default-src 'none'", "base-uri 'none'", "form-action 'none'"] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let html = &answer.body;
    let start = format!("<!DOCTYPE html>\n<html lang=\"{language}\" dir=\"ltr\">");
    assert!(html.starts_with(&start), "{html}");
    assert!(!html.contains(['{', '}']), "something was not put in: {html}");
    let tags = tags(html);
    for tag in &tags {
        let loads = tag.attribute("src").or(tag.attribute("href").filter(|_| tag.name == "link"));
        assert!(loads.is_none_or(|path| path.starts_with("../")), "it is not ours: {tag:?}");
        let inline = tag.attributes.iter().any(|(name, _)| name.starts_with("on") || name == "style");
        assert!(!inline && tag.name != "style", "the policy forbids it: {tag:?}");
        if tag.name == "script" {
            assert_eq!(tag.attribute("type"), Some("module"), "{tag:?}");
            assert!(tag.attribute("src").is_some(), "the policy forbids it: {tag:?}");
        }
        if tag.name == "img" {
            assert!(tag.attribute("alt").is_some_and(|alt| !alt.is_empty()), "{tag:?}");
        }
        if tag.name == "svg" {
            assert_eq!(tag.attribute("aria-hidden"), Some("true"), "{tag:?}");
        }
        assert!(!["form", "iframe", "object", "base"].contains(&tag.name.as_str()), "{tag:?}");
        if tag.name == "input" {
            assert_eq!(tag.attribute("type"), Some("radio"), "nothing is typed here: {tag:?}");
            let is_label = |label: &&Tag| label.attribute("for") == tag.attribute("id");
            assert_eq!(tags.iter().filter(is_label).count(), 1, "{tag:?}");
        }
        for name in ["aria-labelledby", "aria-describedby", "for"] {
            let label = tag.attribute(name);
            let is_there = |label: &str| tags.iter().any(|tag| tag.attribute("id") == Some(label));
            assert!(label.is_none_or(is_there), "it has no label: {tag:?}");
        }
        if tag.name == "section" {
            assert!(tag.attribute("aria-labelledby").is_some(), "{tag:?}");
        }
    }
    let number = |name: &str| tags.iter().filter(|tag| tag.name == name).count();
    assert_eq!((number("h1"), number("main"), number("title")), (1, 1, 1));
    let state = tags.iter().find(|tag| tag.attribute("id") == Some("state")).unwrap();
    assert_eq!(state.attribute("role"), Some("status"), "what changes is announced");
    let ids: Vec<_> = tags.iter().filter_map(|tag| tag.attribute("id")).collect();
    let once = ids.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!(once, ids.len(), "an id comes twice: {ids:?}");
}

/// A tag that opens an element.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The tags of a page, as far as we write HTML: every value in double quotes, and no angle bracket in it.
pub(super) fn tags(html: &str) -> Vec<Tag> {
    let starts = html.split('<').skip(1).filter(|part| part.starts_with(|first: char| first.is_alphabetic()));
    starts
        .map(|part| {
            let inner = part.split_once('>').unwrap().0.trim_end_matches('/');
            let (name, mut rest) = inner.split_once(' ').unwrap_or((inner, ""));
            let mut attributes = Vec::new();
            while let Some((name, after)) = rest.split_once("=\"") {
                let (value, after) = after.split_once('"').unwrap();
                let value = value.replace("&#34;", "\"").replace("&#60;", "<").replace("&#62;", ">");
                attributes.push((name.trim().to_owned(), value.replace("&#38;", "&")));
                rest = after;
            }
            assert_eq!(rest.trim(), "", "an attribute without a value: {part}");
            Tag { name: name.to_owned(), attributes }
        })
        .collect()
}

/// What is read, without the tags.
pub(super) fn text(html: &str) -> String {
    let body = html.split_once("<body>").unwrap().1;
    let parts = body.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    parts.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the links of a page lead.
pub(super) fn links(html: &str) -> Vec<String> {
    let tags = tags(html);
    let links = tags.iter().filter(|tag| tag.name == "a").filter_map(|tag| tag.attribute("href"));
    links.filter(|href| !href.is_empty()).map(str::to_owned).collect()
}

//! What a server or a proxy said with an HTTP status, for an error of one line.

/// Characters of it that are quoted.
const LONGEST: usize = 200;

/// ` and said "…"`: of an HTML page its title, or else its words; empty if there are none.
pub(super) fn quoted(text: &str) -> String {
    let words = match title(text) {
        Some(title) => words(title),
        None => words(text),
    };
    let mut words = words.join(" ");
    if let Some((end, _)) = words.char_indices().nth(LONGEST) {
        words.truncate(end);
        words.push('…');
    }
    if words.is_empty() {
        String::new()
    } else {
        format!(" and said {words:?}")
    }
}

fn title(text: &str) -> Option<&str> {
    let is_page = text.trim_start().starts_with('<');
    let lower = text.to_ascii_lowercase();
    let begin = lower.find("<title>")?.checked_add("<title>".len())?;
    let length = lower.get(begin..)?.find("</title>")?;
    let title = text.get(begin..)?.get(..length)?;
    (is_page && !title.trim().is_empty()).then_some(title)
}

/// The words outside of tags; of what is no page, all.
fn words(text: &str) -> Vec<&str> {
    if !text.trim_start().starts_with('<') {
        return text.split_whitespace().collect();
    }
    let pieces = text.split('<');
    let outside = pieces.filter_map(|piece| Some(piece.split_once('>')?.1));
    outside.flat_map(str::split_whitespace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_quoted_by_its_title_and_another_text_as_it_is() {
        let nginx = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.22</center>\r\n</body>\r\n</html>\r\n";
        let haproxy = "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n";
        for (text, expected) in [
            (nginx, "502 Bad Gateway"),
            (
                haproxy,
                "503 Service Unavailable No server is available to handle this request.",
            ),
            ("<HTML><TITLE>No\n way</TITLE>", "No way"),
            ("<html><title> </title>Go <b>away</b", "Go away"),
            ("a token, please\r\n", "a token, please"),
            (
                "1 < 2, <title>no page</title>",
                "1 < 2, <title>no page</title>",
            ),
            ("say \"please\"", "say \\\"please\\\""),
        ] {
            assert_eq!(quoted(text), format!(" and said \"{expected}\""), "{text}");
        }
        for nothing in ["", " \r\n", "<", "<html></html>", "<title>", "<é<title>"] {
            assert_eq!(quoted(nothing), "", "{nothing}");
        }
    }

    #[test]
    fn a_long_text_is_cut_and_one_at_the_limit_is_not() {
        let long = "é".repeat(LONGEST);
        assert_eq!(quoted(&long), format!(" and said \"{long}\""));
        assert_eq!(
            quoted(&format!("{long}é")),
            format!(" and said \"{long}…\"")
        );
    }
}

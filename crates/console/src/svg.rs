//! Text inside drawings.

/// At most so many characters of it.
pub(super) fn fitting(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(chars.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

pub(super) fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_is_no_markup() {
        for (text, chars, wanted) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("ääää", 3, "ää…"), ("", 0, "")]
        {
            assert_eq!(fitting(text, chars), wanted);
        }
        assert_eq!(escaped("<a href=\"x\">'&\n"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp; ");
    }
}

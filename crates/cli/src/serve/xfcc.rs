//! The header `x-forwarded-client-cert`, in which a sidecar says who its client is.
//!
//! A sidecar of Istio appends an element for its own client to whatever the client sent, and removes the header where it has verified
//! nobody. So only the last element is the sidecar's word; all before it are anybody's.

/// The URIs in the last element of a header line.
///
/// # Errors
/// Why the line cannot be read. A line that is read in another way than the sidecar wrote it could show somebody else.
pub(super) fn last_uris(line: &str) -> Result<Vec<String>, &'static str> {
    let mut uris = Vec::new();
    let mut rest = line.trim();
    loop {
        let (key, after) = rest.split_once('=').ok_or("an element of it has no \"=\"")?;
        if key.contains([',', ';', '"', '\\']) {
            return Err("a key of it has a separator");
        }
        let (value, after) = value(after)?;
        if key.trim().eq_ignore_ascii_case("uri") {
            uris.push(value);
        }
        rest = match after.split_at_checked(1) {
            None => return Ok(uris),
            Some((";", after)) => after,
            Some((",", after)) => {
                uris.clear();
                after
            }
            Some(_) => return Err("something follows a closing quote in it"),
        };
    }
}

/// The value at the start of `text`, and what comes after it.
fn value(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';']).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return if value.contains(['"', '\\']) {
            Err("a value of it has a quote inside")
        } else {
            Ok((value.trim().to_owned(), after))
        };
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, quoted.get(at + 1..).unwrap_or_default())),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    Err("a quote in it is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_element_counts() {
        for (line, wanted) in [
            (
                "By=spiffe://td/ns/byname/sa/serve;Hash=ab;Subject=\"\";URI=spiffe://td/ns/shop/sa/web",
                &["spiffe://td/ns/shop/sa/web"][..],
            ),
            ("URI=spiffe://forged,By=b;URI=real", &["real"]),
            ("URI=forged,Hash=ab", &[]),
            ("Subject=\"CN=a,OU=b;URI=forged\";URI=real", &["real"]),
            ("Subject=\"a\\\"b,URI=forged\";uri=real", &["real"]),
            ("Subject=\"\\\\\";URI=real", &["real"]),
            ("Subject=\"URI=forged", &["?"]),
            ("URI=a;URI=b", &["a", "b"]),
            ("URI=\"a\"", &["a"]),
            ("URI=a, URI=b", &["b"]),
            ("URI=", &[""]),
        ] {
            match last_uris(line) {
                Ok(uris) => assert_eq!(uris, wanted, "{line}"),
                Err(_) => assert_eq!(wanted, ["?"], "{line}"),
            }
        }
    }

    #[test]
    fn refuses_lines_that_two_could_read_as_two_things() {
        for line in [
            "",
            "URI",
            "URI=a,",
            "URI=a;",
            ",URI=a",
            "Subject=\"a",
            "Subject=\"a\\",
            "Subject=\"a\"b;URI=c",
            "Subject=a\"b\";URI=c",
            "URI=a\\,b",
            // A client that leaves a quote open, before the sidecar's own element: the rest would be read inside out.
            "Subject=\",By=b;Subject=\"CN=web\";URI=real",
            "Subject=\",By=b;Subject=\"\";URI=real",
            "\"URI=a\"",
        ] {
            assert!(last_uris(line).is_err(), "{line}: {:?}", last_uris(line));
        }
    }
}

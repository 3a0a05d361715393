//! Comparison of names. The module's `memcmp` compares one byte at a time, in some 17 instructions each.

/// Whether two texts are the same.
pub(crate) fn is_equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks::<4>(), other.as_chunks::<4>());
    words.iter().zip(other_words).all(|(word, other)| word == other)
        && rest.iter().zip(other_rest).all(|(byte, other)| byte == other)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn sees_a_difference_at_any_place() {
        for length in 0..40 {
            let one = vec![b'a'; length];
            assert!(is_equal(&one, &one.clone()));
            assert!(!is_equal(&one, &vec![b'a'; length + 1]));
            for place in 0..length {
                let mut other = one.clone();
                if let Some(byte) = other.get_mut(place) {
                    *byte = b'b';
                }
                assert!(!is_equal(&one, &other), "{length} bytes, at {place}");
            }
        }
    }
}

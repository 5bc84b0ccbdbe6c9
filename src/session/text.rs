//! Text that is put together while the compiler runs.

/// At most so many bytes of text; what does not fit is cut.
#[derive(Clone, Copy)]
pub(super) struct Text<const SIZE: usize> {
    bytes: [u8; SIZE],
    length: usize,
}

impl<const SIZE: usize> Text<SIZE> {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; SIZE],
            length: 0,
        }
    }

    /// Adds `text`, or as many of its whole characters as fit.
    pub(super) const fn and(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut end = text.len();
        if end > SIZE - self.length {
            end = SIZE - self.length;
            while end > 0 && text[end] & 0xc0 == 0x80 {
                end -= 1;
            }
        }
        let mut index = 0;
        while index < end {
            self.bytes[self.length] = text[index];
            self.length += 1;
            index += 1;
        }
        self
    }

    /// Adds a number in decimal.
    pub(super) const fn and_number(mut self, number: u64) -> Self {
        if number >= 10 {
            self = self.and_number(number / 10);
        }
        self.and_byte(b'0' + (number % 10) as u8)
    }

    /// Adds a number in 16 lower-case hexadecimal digits.
    pub(super) const fn and_hexadecimal(mut self, number: u64) -> Self {
        let mut shift = 64;
        while shift > 0 {
            shift -= 4;
            self = self.and_byte(b"0123456789abcdef"[(number >> shift & 0xf) as usize]);
        }
        self
    }

    const fn and_byte(mut self, byte: u8) -> Self {
        if self.length < SIZE {
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        self
    }

    pub(super) const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => panic!("only whole characters are added"),
        }
    }
}

/// Whether two texts are equal.
pub(super) const fn equal(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_between_characters() {
        assert_eq!(Text::<4>::new().and("größe").as_str(), "grö");
        assert_eq!(Text::<3>::new().and("größe").as_str(), "gr");
        assert_eq!(Text::<2>::new().and("a").and_number(123).as_str(), "a1");
    }

    #[test]
    fn numbers_are_written_out() {
        let text = Text::<32>::new().and_number(1_020).and(" ").and_number(0);
        assert_eq!(text.as_str(), "1020 0");
        let text = Text::<16>::new().and_hexadecimal(0x00ab_cdef_0123_4567);
        assert_eq!(text.as_str(), "00abcdef01234567");
    }

    #[test]
    fn texts_are_equal_when_all_bytes_are() {
        assert!(equal("", "") && equal("abc", "abc"));
        assert!(!equal("abc", "abd") && !equal("abc", "ab") && !equal("", "a"));
    }
}

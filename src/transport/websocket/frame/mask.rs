/// The key that a client's payload is combined with (RFC 6455 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport::websocket) struct Mask {
    key: [u8; 4],
}

impl Mask {
    pub(in crate::transport::websocket) fn new(key: [u8; 4]) -> Self {
        Self { key }
    }

    /// A key that nobody can foresee: whoever could, would choose what proxies on the way see.
    pub(in crate::transport::websocket) fn random() -> Self {
        Self::new(rand::random())
    }

    pub(in crate::transport::websocket) fn key(self) -> [u8; 4] {
        self.key
    }

    /// The key as it is `count` bytes further on.
    pub(in crate::transport::websocket) fn turned(self, count: usize) -> Self {
        let mut key = self.key;
        key.rotate_left(count % 4);
        Self { key }
    }

    /// Masks or unmasks bytes, the first of them with the first of the key.
    #[inline]
    pub(in crate::transport::websocket) fn apply(self, bytes: &mut [u8]) {
        let [a, b, c, d] = self.key;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.key.iter().cycle()) {
            *byte ^= key;
        }
    }
}

//! How large a message may be.

/// The size that no message may exceed, checked once when it is set.
///
/// It bounds the encoded body of one message, without its length prefix, in bytes: from 1 to
/// [`MaxMessageSize::LARGEST`]. Sizes that could not work do not construct. The default is 1 MiB.
///
/// Decoding a message may allocate several times its size, because small encodings stand for
/// larger values; [`decode`](crate::codec::decode) says how much.
///
/// ```
/// use sessionwire::codec::MaxMessageSize;
///
/// let limit = MaxMessageSize::new(64 * 1024).expect("64 KiB is in range");
/// assert_eq!(limit.get(), 65_536);
/// assert_eq!(MaxMessageSize::default().get(), 1_048_576);
/// assert_eq!(MaxMessageSize::new(0), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaxMessageSize(usize);

impl MaxMessageSize {
    /// The largest size that can be set: the four-byte length prefix, less room for a frame header.
    pub const LARGEST: usize = u32::MAX as usize - 64;

    /// Sets the limit to `bytes`, or `None` unless it is within 1 ..= [`LARGEST`](Self::LARGEST).
    pub const fn new(bytes: usize) -> Option<Self> {
        if bytes >= 1 && bytes <= Self::LARGEST {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// The limit in bytes.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl Default for MaxMessageSize {
    fn default() -> Self {
        Self(1024 * 1024)
    }
}

//! What holds a saved book together: a magic word, a version, a checksum, and the book itself.

/// The largest book that is read or written, in bytes: 64 MiB, when all limits are at their most.
pub const LARGEST_SNAPSHOT: usize = 64 * 1024 * 1024;

const MAGIC: [u8; 4] = *b"swbk";
const VERSION: u8 = 1;
const HEAD: usize = MAGIC.len() + 1 + size_of::<u64>();

/// Why bytes are no saved book.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// They are too many.
    #[error("the address book has {length} bytes, and {limit} are the most; it is something else")]
    TooLarge {
        /// How many.
        length: usize,
        /// [`LARGEST_SNAPSHOT`].
        limit: usize,
    },

    /// They do not begin as a book does.
    #[error("it is no address book of sessionwire")]
    Foreign,

    /// Another version of sessionwire wrote them.
    #[error(
        "the address book is of version {found}, and this program reads {supported}; use the program that wrote it"
    )]
    Version {
        /// Its version.
        found: u8,
        /// The one that is read here.
        supported: u8,
    },

    /// They are not what was written.
    #[error("the address book is damaged: {problem}")]
    Damaged {
        /// What shows it.
        problem: String,
    },
}

pub(super) fn seal(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD.saturating_add(body.len()));
    bytes.extend_from_slice(&MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&checksum(body).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn unseal(bytes: &[u8]) -> Result<&[u8], SnapshotError> {
    if bytes.len() > LARGEST_SNAPSHOT {
        return Err(SnapshotError::TooLarge {
            length: bytes.len(),
            limit: LARGEST_SNAPSHOT,
        });
    }
    let rest = bytes.strip_prefix(&MAGIC).ok_or(SnapshotError::Foreign)?;
    let (found, rest) = rest.split_first().ok_or_else(cut_off)?;
    if *found != VERSION {
        return Err(SnapshotError::Version {
            found: *found,
            supported: VERSION,
        });
    }
    let (sum, body) = rest.split_first_chunk().ok_or_else(cut_off)?;
    if u64::from_le_bytes(*sum) != checksum(body) {
        return Err(damaged("its checksum is wrong".to_owned()));
    }
    Ok(body)
}

pub(super) fn damaged(problem: String) -> SnapshotError {
    SnapshotError::Damaged { problem }
}

fn cut_off() -> SnapshotError {
    damaged("it is cut off".to_owned())
}

/// FNV-1a: it finds what a crash or a disk does, and no attacker.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_found_unharmed_or_not_at_all() {
        let sealed = seal(b"a book");
        assert_eq!(unseal(&sealed), Ok(&b"a book"[..]));
        for place in 0..sealed.len() {
            let mut harmed = sealed.clone();
            harmed[place] ^= 1;
            assert!(unseal(&harmed).is_err(), "byte {place}");
            assert!(unseal(&sealed[..place]).is_err(), "cut at {place}");
        }
        assert_eq!(unseal(b""), Err(SnapshotError::Foreign));
    }

    #[test]
    fn a_book_of_another_version_is_told_apart() {
        let mut sealed = seal(b"a book");
        sealed[4] = 2;
        let (found, supported) = (2, 1);
        let expected = SnapshotError::Version { found, supported };
        assert_eq!(unseal(&sealed), Err(expected));
    }
}

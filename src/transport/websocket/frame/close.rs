use super::Breach;

/// What a Close says when it says nothing (RFC 6455 §7.1.5).
const NO_CODE: u16 = 1005;

/// Why a WebSocket is closed, in the words of a Close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WsClose {
    /// One of RFC 6455 §7.4, or of the application's own from 4000 to 4999. 1000 is an orderly end,
    /// 1005 stands for a Close without a code.
    pub code: u16,
    /// For a human who reads a log; at most 123 bytes.
    pub reason: String,
}

impl WsClose {
    pub(in crate::transport::websocket) fn new(code: u16, reason: &str) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
        }
    }

    /// What may be sent, or why not.
    pub(in crate::transport::websocket) fn check(&self) -> Result<(), &'static str> {
        if !may_be_sent(self.code) {
            return Err(
                "the code of a websocket close must be one of 1000 to 1003, 1007 to 1014 or 3000 to 4999",
            );
        }
        if self.reason.len() > super::MAX_CONTROL - 2 {
            return Err("the reason of a websocket close must be at most 123 bytes long");
        }
        Ok(())
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, Breach> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            let nothing = Self::new(NO_CODE, "");
            return payload
                .is_empty()
                .then_some(nothing)
                .ok_or(Breach::CloseCut);
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(Breach::CloseCode(code));
        }
        let reason = str::from_utf8(reason).map_err(|_| Breach::NotUtf8)?;
        Ok(Self::new(code, reason))
    }

    pub(in crate::transport::websocket) fn encode(&self) -> Vec<u8> {
        if self.code == NO_CODE {
            return Vec::new();
        }
        let mut payload = self.code.to_be_bytes().to_vec();
        payload.extend_from_slice(self.reason.as_bytes());
        payload
    }
}

/// Codes that mean something on the wire: RFC 6455 §7.4, and those registered with IANA since.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

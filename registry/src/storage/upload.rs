//! Names of upload sessions.

use std::fmt;

/// The name of an upload session: 128 random bits as 32 lowercase hex digits. Who knows it may
/// write to the session, so it must not be guessed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadId(String);

impl UploadId {
    /// Draws a new name.
    pub fn draw() -> Self {
        let mut bytes = [0_u8; 16];
        let drawn = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        drawn.expect("because the kernel's generator, once seeded, gives 16 bytes whole and always");
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// Reads a name; `None` if it is none that [`UploadId::draw`] returns.
    pub fn parse(text: &str) -> Option<Self> {
        let legal = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        legal.then(|| Self(text.to_owned()))
    }

    /// Returns the name as text, fit to be a file's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::UploadId;

    #[test]
    fn a_drawn_name_parses_back_and_differs_from_the_next() {
        let id = UploadId::draw();
        assert_eq!(UploadId::parse(id.as_str()), Some(id.clone()));
        assert_ne!(UploadId::draw(), id);
    }

    #[test]
    fn a_name_that_could_leave_its_directory_is_refused() {
        for text in ["", "..", "../../../../../../../../../etc/a", &"A".repeat(32), &"0".repeat(33)] {
            assert_eq!(UploadId::parse(text), None, "{text}");
        }
    }
}

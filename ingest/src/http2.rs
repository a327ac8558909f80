//! The end of an HTTP/2 connection. Over HTTP/1.1 an answer says `Connection: close`; here a frame says that no further requests are wanted, and the
//! client closes the connection when those under way are answered (RFC 9113 section 6.8).

/// How HTTP/2 without TLS begins.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2";

const FRAME_HEAD: usize = 9;
/// GOAWAY on stream 0: every stream that was opened is still served, and there is no error.
const GOAWAY: [u8; FRAME_HEAD + 8] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Follows the frames that are written, and knows when another may be put between them.
#[derive(Debug, Default)]
pub(crate) struct LastWord {
    head: [u8; FRAME_HEAD],
    head_length: usize,
    /// Bytes of the frame that is being written, beside its head.
    body_left: usize,
    /// The first frame must be the server's settings.
    has_begun: bool,
    said: usize,
}

impl LastWord {
    /// These bytes of the server's went out.
    pub(crate) fn written(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let taken = self.body_left.min(bytes.len());
                self.body_left -= taken;
                bytes = &bytes[taken..];
                continue;
            }
            let taken = (FRAME_HEAD - self.head_length).min(bytes.len());
            self.head[self.head_length..self.head_length + taken].copy_from_slice(&bytes[..taken]);
            self.head_length += taken;
            bytes = &bytes[taken..];
            if self.head_length == FRAME_HEAD {
                self.body_left = u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]) as usize;
                self.head_length = 0;
                self.has_begun = true;
            }
        }
    }

    /// What is left to say, if it may be said now.
    pub(crate) fn unsaid(&self) -> Option<&'static [u8]> {
        let between_frames = self.has_begun && self.head_length == 0 && self.body_left == 0;
        (between_frames && self.said < GOAWAY.len()).then(|| &GOAWAY[self.said..])
    }

    /// So much of it was said.
    pub(crate) fn say(&mut self, bytes: usize) {
        self.said += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_comes_between_frames_however_they_are_split_and_once() {
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
        let acknowledged = [0, 0, 0, 4, 1, 0, 0, 0, 0];
        let frames: Vec<u8> = settings.into_iter().chain(acknowledged).collect();
        for piece in 1..frames.len() {
            let mut last_word = LastWord::default();
            assert_eq!(last_word.unsaid(), None, "not before the settings");
            let mut written = 0;
            for bytes in frames.chunks(piece) {
                last_word.written(bytes);
                written += bytes.len();
                let between = written == settings.len() || written == frames.len();
                assert_eq!(last_word.unsaid().is_some(), between, "{written} bytes in pieces of {piece}");
            }
            last_word.say(10);
            assert_eq!(last_word.unsaid().map(<[u8]>::len), Some(GOAWAY.len() - 10));
            last_word.say(GOAWAY.len() - 10);
            assert_eq!(last_word.unsaid(), None);
        }
    }
}

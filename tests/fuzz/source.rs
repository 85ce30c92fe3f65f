//! Choices that are made by bytes, so that a fuzzer which changes bytes changes choices.

/// The bytes; when they are used up, they go on by a rule of their own.
pub struct Source<'a> {
    bytes: &'a [u8],
    rest: u64,
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let seed = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { bytes, rest: seed }
    }

    pub fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((byte, rest)) => {
                self.bytes = rest;
                *byte
            }
            None => {
                self.rest =
                    self.rest.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (self.rest >> 56) as u8
            }
        }
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        let number = if end <= 256 {
            usize::from(self.byte())
        } else {
            usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
        };
        number % end.max(1)
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Cuts into pieces, some of them empty.
    pub fn cut<'b>(&mut self, mut whole: &'b [u8]) -> Vec<&'b [u8]> {
        let mut pieces = Vec::new();
        while !whole.is_empty() {
            let (piece, rest) = whole.split_at(self.below(12).min(whole.len()));
            pieces.push(piece);
            whole = rest;
            if pieces.len() > 2_000 {
                pieces.push(whole);
                break;
            }
        }
        pieces
    }
}

use super::*;

const SETTINGS: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
const ACKNOWLEDGED: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
const PING: u8 = 6;

fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
}

fn head(stream: u32, fields: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, fields)
}

/// What a client says from the beginning.
fn said(frames: &[Vec<u8>]) -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[]), &frames.concat()].concat()
}

/// The verdict on it, which is the same however it is split; also while it is not all there.
fn verdict(frames: &[Vec<u8>]) -> Result<(), Excess> {
    let bytes = said(frames);
    let whole = Http2::default().read(&bytes);
    let pieces = [1, 2, 3, 5, 8, 9, 10, 23, 25, 33, 100, 1_000, 8_192];
    for piece in pieces {
        let mut http2 = Http2::default();
        assert_eq!(bytes.chunks(piece).try_for_each(|bytes| http2.read(bytes)), whole, "in pieces of {piece}");
    }
    for cut in 0..bytes.len().min(300) {
        let mut http2 = Http2::default();
        let (before, after) = bytes.split_at(cut);
        assert_eq!(http2.read(before).and_then(|()| http2.read(after)), whole, "cut after {cut}");
    }
    whole
}

#[test]
fn the_last_word_comes_between_frames_however_they_are_split_and_once() {
    let frames: Vec<u8> = SETTINGS.into_iter().chain(ACKNOWLEDGED).collect();
    for piece in 1..frames.len() {
        let mut http2 = Http2::default();
        assert_eq!(http2.unsaid(), None, "not before the settings");
        let mut written = 0;
        for bytes in frames.chunks(piece) {
            http2.written(bytes);
            written += bytes.len();
            let between = written == SETTINGS.len() || written == frames.len();
            assert_eq!(http2.unsaid().is_some(), between, "{written} bytes in pieces of {piece}");
        }
        http2.say(10);
        assert_eq!(http2.unsaid().map(<[u8]>::len), Some(GOAWAY.len() - 10));
        http2.say(GOAWAY.len() - 10);
        assert_eq!(http2.unsaid(), None);
    }
}

#[test]
fn a_head_has_a_length_and_a_number_of_fields_however_it_is_split() {
    let too_large = Err(Excess::HeadTooLarge);
    let long =
        |bytes: usize| [&[0x44, 0x7f, (bytes - 4 - 127) as u8 | 0x80, ((bytes - 4 - 127) >> 7) as u8][..], &vec![b'x'; bytes - 4]].concat();
    assert_eq!(verdict(&[head(1, &[0x82; HEAD_FIELDS]), frame(DATA, END_STREAM, 1, b"{}"), head(3, &[0x82; HEAD_FIELDS])]), Ok(()));
    assert_eq!(verdict(&[head(1, &[0x82; HEAD_FIELDS + 1])]), too_large);
    assert_eq!(verdict(&[head(1, &[0x82]), head(3, &[0xbe; HEAD_FIELDS + 1])]), too_large, "of any request");
    assert_eq!(
        verdict(&[head(1, &[0x82]), frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xbe; HEAD_FIELDS + 1])]),
        too_large,
        "of trailers"
    );
    assert_eq!(verdict(&[head(1, &long(HEAD_BYTES))]), Ok(()));
    assert_eq!(verdict(&[head(1, &long(HEAD_BYTES + 1))]), too_large);
    assert_eq!(verdict(&[frame(HEADERS, 0, 1, &long(HEAD_BYTES + 1))]), too_large);
    assert_eq!(verdict(&[head(1, &[0x82]), frame(CONTINUATION, END_HEADERS, 1, &[0x82])]), too_large);
    // What is no head may look like one.
    assert_eq!(verdict(&[head(1, &[0x82]), frame(DATA, 0, 1, &[0xbe; 9_000]), frame(PING, 0, 0, &head(3, &[])[..8])]), Ok(()));
}

#[test]
fn a_head_over_many_frames_counts_as_one() {
    let too_large = Err(Excess::HeadTooLarge);
    // Cut anywhere, also within a field: `x: y`, spelled out, again and again.
    let fields = |count: usize| [0x00, 1, b'x', 1, b'y'].repeat(count);
    let over = |fields: &[u8], piece: usize| {
        let last = fields.len().div_ceil(piece) - 1;
        let frame = |(number, piece): (usize, &[u8])| {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            frame(kind, if number == last { END_HEADERS } else { 0 }, 1, piece)
        };
        fields.chunks(piece).enumerate().map(frame).collect::<Vec<_>>()
    };
    for piece in [1, 2, 3, 7, 100, 480] {
        assert_eq!(verdict(&over(&fields(HEAD_FIELDS), piece)), Ok(()), "frames of {piece}");
        assert_eq!(verdict(&over(&fields(HEAD_FIELDS + 1), piece)), too_large, "frames of {piece}");
    }
    let text =
        |bytes: usize| [&[0x44, 0x7f, (bytes - 4 - 127) as u8 | 0x80, ((bytes - 4 - 127) >> 7) as u8][..], &vec![0x82; bytes - 4]].concat();
    assert_eq!(verdict(&over(&text(HEAD_BYTES - FRAME_HEAD), 5_000)), Ok(()));
    assert_eq!(verdict(&over(&text(HEAD_BYTES - FRAME_HEAD + 1), 5_000)), too_large);
    let (begun, empty) = (frame(HEADERS, 0, 1, &[0x82]), frame(CONTINUATION, 0, 1, &[]));
    assert_eq!(verdict(&[begun.clone(), frame(CONTINUATION, END_HEADERS, 1, &[]), head(3, &[0x82])]), Ok(()));
    assert_eq!(verdict(&[vec![begun.clone()], vec![empty; HEAD_BYTES / FRAME_HEAD + 1]].concat()), too_large, "without end");
    assert_eq!(verdict(&[begun, frame(PING, 0, 0, &[0; 8]), frame(CONTINUATION, 0, 1, &[])]), too_large, "of no head");
    // Padding and priority belong to the first frame.
    let padded = frame(HEADERS, PADDED | PRIORITY, 1, &[&[2][..], &[0x80; 5], &[0x82, 0, 0]].concat());
    let rest = |fields: usize| frame(CONTINUATION, END_HEADERS | PADDED | PRIORITY, 1, &vec![0x82; fields]);
    assert_eq!(verdict(&[padded.clone(), rest(HEAD_FIELDS - 1)]), Ok(()));
    assert_eq!(verdict(&[padded, rest(HEAD_FIELDS)]), too_large);
}

#[test]
fn padding_and_priority_are_no_fields() {
    let padded = |fields: usize| [&[200][..], &[0x80; 5], &vec![0x82; fields], &[0; 200]].concat();
    let flags = END_HEADERS | PADDED | PRIORITY;
    assert_eq!(verdict(&[frame(HEADERS, flags, 1, &padded(HEAD_FIELDS))]), Ok(()));
    assert_eq!(verdict(&[frame(HEADERS, flags, 1, &padded(HEAD_FIELDS + 1))]), Err(Excess::HeadTooLarge));
    assert_eq!(
        verdict(&[frame(HEADERS, END_HEADERS | PRIORITY, 1, &[0x80; 5]), frame(HEADERS, flags, 3, &[255]), frame(HEADERS, flags, 5, &[])]),
        Ok(())
    );
}

#[test]
fn requests_count_until_one_side_ends_them() {
    let open = |http2: &mut Http2, number: usize| http2.read(&head(u32::try_from(2 * number + 1).unwrap(), &[0x82]));
    let mut http2 = Http2::default();
    assert_eq!(http2.read(&said(&[])), Ok(()));
    assert_eq!((0..OPEN_STREAMS).try_for_each(|number| open(&mut http2, number)), Ok(()));
    // Answered with a body, without one, given up by us, by the client; its trailers come afterwards.
    http2.written(&[frame(4, 0, 0, &[]), head(1, &[0x88]), frame(DATA, END_STREAM, 1, b"{}")].concat());
    http2.written(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &[0x88]));
    http2.written(&frame(RST_STREAM, 0, 5, &[0; 4]));
    assert_eq!(http2.read(&[frame(RST_STREAM, 0, 7, &[0; 4]), frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x82])].concat()), Ok(()));
    // A ping's answer has the same flag and ends nothing.
    http2.written(&frame(PING, 1, 9, &[0; 8]));
    assert_eq!((OPEN_STREAMS..OPEN_STREAMS + 4).try_for_each(|number| open(&mut http2, number)), Ok(()));
    assert_eq!(open(&mut http2, OPEN_STREAMS + 4), Err(Excess::TooManyStreams));
}

#[test]
fn requests_that_come_in_a_row_have_their_turn_before_more_are_read() {
    let mut http2 = Http2::default();
    let few: Vec<_> = (0..HEADS_AT_ONCE as u32 - 1).map(|number| head(2 * number + 1, &[0x82])).collect();
    assert_eq!(http2.read(&said(&few)), Ok(()));
    assert!(!http2.has_read_many());
    assert_eq!(http2.read(&head(101, &[0x82])), Ok(()));
    assert!(http2.has_read_many() && !http2.has_read_many(), "once");
    assert_eq!(http2.read(&head(103, &[0x82])), Ok(()));
    http2.has_paused();
    assert_eq!(http2.read(&few.concat()), Ok(()));
    assert!(!http2.has_read_many());
}

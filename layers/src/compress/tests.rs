//! What the compressors owe: bytes that depend on input and level alone; and what the decoder refuses.

use std::io::{self, Cursor, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::chunks::ENGINES;
use super::cut::{Cutter, Lengths, Part};
use super::{Compression, CompressionError, DecodeError, Decoder, ReadAhead, compressor};
use crate::oci::{Compressed, Digest};

const ALL: [Compression; 3] = [Compression::None, Compression::GZIP, Compression::ZSTD];

/// Text with repeats near and far, and bytes that do not compress.
fn sample(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(size + 64);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match state % 4 {
            0 => bytes.extend_from_slice(&state.to_le_bytes()),
            1 => bytes.extend_from_slice(format!("/usr/share/doc/{}/copyright\n", state % 97).as_bytes()),
            2 => bytes.extend(std::iter::repeat_n(0, (state >> 32) as usize % 60)),
            _ => {
                let from = (state >> 20) as usize % (bytes.len() + 1);
                let to = bytes.len().min(from + (state >> 50) as usize % 200);
                bytes.extend_from_within(from..to);
            }
        }
    }
    bytes.truncate(size);
    bytes
}

fn compress(compression: Compression, threads: usize, bytes: &[u8]) -> Vec<u8> {
    let mut writer = compressor(compression, threads, Vec::new());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    Decoder::new(bytes)?.read_to_end(&mut content)?;
    Ok(content)
}

fn decode_error(bytes: &[u8]) -> DecodeError {
    inner(decode(bytes).unwrap_err())
}

fn inner(error: io::Error) -> DecodeError {
    error.downcast::<DecodeError>().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_depend_neither_on_threads_nor_on_how_the_input_was_cut(
        size in prop_oneof![0_usize..5000, 1_000_000_usize..3_500_000],
        seed: u64,
        threads in 2_usize..6,
        cuts in prop::collection::vec(1_usize..1_500_000, 1..8),
        compression in prop::sample::select(&ALL[..]),
    ) {
        let bytes = sample(size, seed);
        let whole = compress(compression, 1, &bytes);

        let mut writer = compressor(compression, threads, Vec::new());
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            writer.write_all(piece).unwrap();
            writer.flush().unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(writer.finish().unwrap() == whole);
    }

    #[test]
    fn what_was_compressed_decompresses_to_the_same(
        size in prop_oneof![0_usize..5000, 1_000_000_usize..3_000_000],
        seed: u64,
        gzip in 1_u8..=9,
        zstd in 1_u8..=12,
    ) {
        let bytes = sample(size, seed);
        for compression in [Compression::None, Compression::Gzip { level: gzip }, Compression::Zstd { level: zstd }] {
            prop_assert!(decode(&compress(compression, 2, &bytes)).unwrap() == bytes);
        }
    }

    #[test]
    fn a_cut_stream_is_never_taken_for_a_whole_one(size in 0_usize..40_000, seed: u64, at in 0.0_f64..1.0) {
        let bytes = sample(size, seed);
        for compression in [Compression::GZIP, Compression::ZSTD] {
            let whole = compress(compression, 1, &bytes);
            // Magic and one more byte: below that nothing tells the format.
            let end = 5 + ((whole.len() - 5) as f64 * at) as usize;
            let truncated = matches!(decode_error(&whole[..end]), DecodeError::Truncated { .. });
            prop_assert!(truncated);
        }
    }

    #[test]
    fn arbitrary_bytes_behind_a_magic_do_not_panic(bytes: Vec<u8>) {
        for magic in [&[0x1f, 0x8b, 8][..], &[0x28, 0xb5, 0x2f, 0xfd], &[0x50, 0x2a, 0x4d, 0x18], &[]] {
            let _ = decode(&[magic, &bytes].concat());
        }
    }
}

#[test]
fn a_whole_chunk_without_more_is_the_same_on_all_threads() {
    for compression in ALL {
        let bytes = sample(13 << 20, 7);
        let mut cutter = Cutter::new(Lengths::of(compression));
        let Part::Last(first) = cutter.take(&bytes) else { panic!("a chunk of 13 MiB") };
        let Part::Last(second) = cutter.take(&bytes[first..]) else { panic!("a chunk of 7 MiB") };
        for size in [first - 1, first, first + 1, first + second] {
            assert!(
                compress(compression, 1, &bytes[..size]) == compress(compression, 3, &bytes[..size]),
                "{compression} {size}"
            );
        }
    }
}

/// Layers keep their digest only as long as the engine keeps its bytes: an update that changes them
/// has to be seen, and to be worth it. The digests then also tell old chunk indexes from new ones.
#[test]
fn the_engines_still_write_the_bytes_they_wrote() {
    let (bytes, short) = (sample(9 << 20, 42), sample(300 << 10, 42));
    let mut written: Vec<String> = [Compression::GZIP, Compression::Gzip { level: 9 }, Compression::ZSTD]
        .map(|compression| Digest::sha256(&compress(compression, 2, &bytes)).to_string())
        .into();
    let all = |levels: &[Compression]| {
        let streams: Vec<_> = levels.iter().map(|&level| compress(level, 1, &short)).collect();
        Digest::sha256(&streams.concat()).to_string()
    };
    written.push(all(&[1, 2, 3, 4, 5, 6, 7, 8, 9].map(|level| Compression::Gzip { level })));
    let zstd: Vec<_> = (1..=22).map(|level| Compression::Zstd { level }).collect();
    written.push(all(&zstd));
    assert_eq!(written, ENGINES);
}

#[test]
fn gzip_names_no_file_no_time_and_no_system() {
    let bytes = compress(Compression::GZIP, 1, b"content");
    assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
}

#[test]
fn nothing_compresses_to_a_valid_stream_of_nothing() {
    for compression in ALL {
        let bytes = compress(compression, 2, b"");
        assert_eq!(Decoder::new(&bytes[..]).unwrap().format(), compression.format());
        assert_eq!(decode(&bytes).unwrap(), b"");
    }
}

#[test]
fn bytes_that_do_not_compress_pass() {
    let mut bytes = Vec::new();
    let mut state = 1_u64;
    while bytes.len() < 3 << 20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 32).to_le_bytes()[..4]);
    }
    // zlib-rs at level 1 always uses fixed codes: nine bits for half of the bytes.
    let sixteenth = bytes.len() / 16;
    let thousandth = bytes.len() / 1000;
    for (compression, growth) in [
        (Compression::Gzip { level: 1 }, sixteenth + thousandth),
        (Compression::Gzip { level: 2 }, thousandth),
        (Compression::Gzip { level: 9 }, thousandth),
        (Compression::ZSTD, thousandth),
    ] {
        let compressed = compress(compression, 2, &bytes);
        assert!(compressed.len() < bytes.len() + growth, "{compression}: {}", compressed.len());
        assert!(decode(&compressed).unwrap() == bytes);
    }
}

#[test]
fn the_formats_own_tools_find_no_fault() {
    for (size, compression, tool) in [
        (0, Compression::GZIP, "gzip"),
        (3_000_000, Compression::GZIP, "gzip"),
        (0, Compression::ZSTD, "zstd"),
        (9_000_000, Compression::ZSTD, "zstd"),
    ] {
        let bytes = sample(size, 3);
        let compressed = compress(compression, 2, &bytes);
        let Ok(mut child) =
            Command::new(tool).arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        else {
            eprintln!("{tool} is not installed: nothing was compared");
            continue;
        };
        let mut stdin = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || stdin.write_all(&compressed));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap().unwrap();
        assert!(output.status.success());
        assert!(output.stdout == bytes);
    }
}

#[test]
fn other_tools_output_is_read() {
    let bytes = sample(300_000, 5);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&bytes).unwrap();
    assert!(decode(&gzip.finish().unwrap()).unwrap() == bytes);
    assert!(decode(&zstd::encode_all(&bytes[..], 19).unwrap()).unwrap() == bytes);
}

#[test]
fn members_and_frames_are_read_one_after_the_other() {
    for compression in [Compression::GZIP, Compression::ZSTD] {
        let two = [
            compress(compression, 1, b"one "),
            compress(compression, 1, b""),
            compress(compression, 1, b"two"),
        ];
        assert_eq!(decode(&two.concat()).unwrap(), b"one two");
    }
}

#[test]
fn a_skippable_frame_is_skipped_wherever_it_stands() {
    let skippable = [0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, b'x', b'y', b'z'];
    let frame = compress(Compression::ZSTD, 1, b"content");
    let bytes = [&skippable[..], &frame, &skippable].concat();
    assert_eq!(decode(&bytes).unwrap(), b"content");
}

#[test]
fn zeros_may_follow_gzip_and_nothing_else() {
    let mut bytes = compress(Compression::GZIP, 1, b"content");
    bytes.extend([0; 200_000]);
    assert_eq!(decode(&bytes).unwrap(), b"content");
    bytes.push(b'x');
    assert!(matches!(decode_error(&bytes), DecodeError::Trailing { format: "gzip", decoded: 7 }));
}

#[test]
fn a_changed_byte_is_found_by_the_crc() {
    let content = sample(20_000, 9);
    let mut bytes = compress(Compression::GZIP, 1, &content);
    let crc = bytes.len() - 8;
    bytes[crc] ^= 1;
    assert!(matches!(decode_error(&bytes), DecodeError::Corrupt { format: "gzip", decoded: 20_000, .. }));
}

#[test]
fn garbage_behind_a_zstd_frame_is_an_error() {
    let mut bytes = compress(Compression::ZSTD, 1, b"content");
    bytes.extend(b"garbage!");
    assert!(matches!(decode_error(&bytes), DecodeError::Corrupt { format: "zstd", decoded: 7, .. }));
}

#[test]
fn a_window_beyond_the_bound_is_refused() {
    // Frame header of a window descriptor of 2^31 bytes, then an empty last block.
    let bytes = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0];
    assert!(matches!(decode_error(&bytes), DecodeError::Corrupt { format: "zstd", decoded: 0, .. }));
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    for compression in ALL {
        let bytes = compress(compression, 1, &zeros);
        let mut decoder = Decoder::new(&bytes[..]).unwrap().limit(1 << 20);
        let error = io::copy(&mut decoder, &mut io::sink()).unwrap_err();
        assert!(matches!(inner(error), DecodeError::TooLarge { max_bytes: 0x10_0000 }));
        let mut decoder = Decoder::new(&bytes[..]).unwrap().limit(8 << 20);
        assert_eq!(io::copy(&mut decoder, &mut io::sink()).unwrap(), 8 << 20);
    }
}

#[test]
fn what_is_not_compressed_passes_even_if_it_is_short() {
    for bytes in [&b""[..], b"\x1f", b"abc", b"plain tar"] {
        assert_eq!(decode(bytes).unwrap(), bytes);
    }
}

/// Fails after what it was given, and tells when it is dropped.
struct Failing {
    content: Cursor<Vec<u8>>,
    dropped: Arc<AtomicBool>,
}

impl Failing {
    fn after(content: Vec<u8>) -> (Self, Arc<AtomicBool>) {
        let dropped = Arc::new(AtomicBool::new(false));
        (Self { content: Cursor::new(content), dropped: Arc::clone(&dropped) }, dropped)
    }
}

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.content.read(buffer)? {
            0 => Err(io::Error::from_raw_os_error(5)),
            count => Ok(count),
        }
    }
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.content.get_ref().len() as u64;
        if self.content.position() + bytes.len() as u64 > room {
            return Err(io::Error::from_raw_os_error(28));
        }
        self.content.set_position(self.content.position() + bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_failing_reader_is_not_called_corrupt() {
    for compression in ALL {
        let mut bytes = compress(compression, 1, &sample(100_000, 1));
        bytes.truncate(5000);
        let mut decoder = Decoder::new(Failing::after(bytes).0).unwrap();
        let error = io::copy(&mut decoder, &mut io::sink()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5), "{compression}");
    }
}

#[test]
fn a_failing_writer_stops_the_stream_with_its_own_error() {
    let bytes = sample(20 << 20, 11);
    for compression in ALL {
        for threads in [1, 3] {
            let (writer, dropped) = Failing::after(vec![0; 100_000]);
            let mut writer = compressor(compression, threads, writer);
            let written = writer.write_all(&bytes);
            let error = written.and_then(|()| writer.finish().map(drop)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(28), "{compression} {threads}");
            assert!(dropped.load(Ordering::SeqCst));
        }
    }
}

#[test]
fn a_dropped_compressor_has_dropped_its_writer() {
    for threads in [1, 3] {
        let (writer, dropped) = Failing::after(vec![0; 64 << 20]);
        let mut writer = compressor(Compression::GZIP, threads, writer);
        writer.write_all(&sample(5 << 20, 1)).unwrap();
        drop(writer);
        assert!(dropped.load(Ordering::SeqCst));
    }
}

#[test]
fn reading_ahead_changes_nothing_and_keeps_the_error_in_its_place() {
    let bytes = sample(3_000_000, 4);
    let mut content = Vec::new();
    ReadAhead::new(Cursor::new(bytes.clone())).unwrap().read_to_end(&mut content).unwrap();
    assert!(content == bytes);

    let mut content = Vec::new();
    let error =
        ReadAhead::new(Failing::after(bytes.clone()).0).unwrap().read_to_end(&mut content).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5));
    assert!(content == bytes);
}

#[test]
fn levels_outside_the_range_are_refused() {
    assert_eq!(Compression::new(Compressed::Gzip, Some(9)), Ok(Compression::Gzip { level: 9 }));
    assert_eq!(Compression::new(Compressed::Zstd, None), Ok(Compression::ZSTD));
    assert_eq!(
        Compression::new(Compressed::Zstd, Some(23)),
        Err(CompressionError::Level { format: "zstd", level: 23, lowest: 1, highest: 22 })
    );
    assert_eq!(Compression::new(Compressed::None, Some(1)), Err(CompressionError::NoLevel { level: 1 }));
}

//! What the writer writes the reader reads, and so do other tools; what they write the reader reads.

use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::block::{BLOCK_BYTES, Block, put_octal, put_sum};
use super::{Entry, Kind, Reader, TarError, Writer};

type Member = (Entry, Vec<u8>);

fn write(members: &[Member]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in members {
        writer.append(entry, &mut &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

fn read(archive: &[u8]) -> Result<Vec<Member>, TarError> {
    let mut reader = Reader::new(archive);
    let mut members = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut content = Vec::new();
        if let Err(error) = reader.read_to_end(&mut content) {
            return Err(error.downcast::<TarError>().expect("because the reader wraps its own errors"));
        }
        members.push((entry, content));
    }
    Ok(members)
}

fn file(path: &str, content: &[u8]) -> Member {
    (Entry::new(path, Kind::File { size: content.len() as u64 }, 0o644), content.to_vec())
}

/// A raw header, for archives that the writer would never write.
fn raw(name: &[u8], flag: u8, size: u64) -> Block {
    let mut block = [0; BLOCK_BYTES];
    block[..name.len()].copy_from_slice(name);
    put_octal(&mut block[100..108], 0o644);
    put_octal(&mut block[124..136], size);
    block[156] = flag;
    block[157..162].copy_from_slice(b"linkx");
    block[257..265].copy_from_slice(b"ustar\x0000");
    put_sum(&mut block);
    block
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    bytes
}

fn component() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => proptest::char::range('a', 'e').prop_map(|c| c as u8), 1 => 1u8..=255];
    vec(byte.prop_filter("a slash divides", |&byte| byte != b'/'), 1..60)
        .prop_filter("dots mean something else", |name| name != b"." && name != b"..")
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    vec(component(), 1..8).prop_map(|components| components.join(&b'/'))
}

fn member() -> impl Strategy<Value = Member> {
    let number = prop_oneof![3 => 0u64..70_000, 1 => any::<u64>()];
    let device = prop_oneof![3 => 0u32..300, 1 => any::<u32>()];
    let kind = prop_oneof![
        Just(Kind::Directory),
        Just(Kind::Fifo),
        Just(Kind::File { size: 0 }),
        Just(Kind::File { size: 0 }),
        path().prop_map(|target| Kind::Hardlink { target }),
        vec(1u8..=255, 1..300).prop_map(|target| Kind::Symlink { target }),
        (device.clone(), device.clone()).prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
        (device.clone(), device).prop_map(|(major, minor)| Kind::CharacterDevice { major, minor }),
    ];
    let key = "[a-z.]{1,40}".prop_map(String::into_bytes);
    let xattrs =
        prop_oneof![3 => Just(Default::default()), 1 => btree_map(key, vec(any::<u8>(), 0..300), 0..4)];
    let mtime = prop_oneof![3 => 0i64..1 << 33, 1 => (-(1i64 << 62))..1 << 62];
    let content = vec(any::<u8>(), 0..1200);
    (path(), kind, 0u32..=0o7777, number.clone(), number, mtime, xattrs, content).prop_map(
        |(path, kind, mode, uid, gid, mtime, xattrs, content)| match kind {
            Kind::File { .. } => {
                let kind = Kind::File { size: content.len() as u64 };
                (Entry { path, kind, mode, uid, gid, mtime, xattrs }, content)
            }
            kind => (Entry { path, kind, mode, uid, gid, mtime, xattrs }, Vec::new()),
        },
    )
}

/// The `tar` crate divides PAX records at newlines, wherever they stand.
fn without_newlines(entry: &mut Entry) {
    let replace =
        |bytes: &mut Vec<u8>| bytes.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b'n');
    replace(&mut entry.path);
    entry.xattrs.values_mut().for_each(replace);
    if let Kind::Hardlink { target } | Kind::Symlink { target } = &mut entry.kind {
        replace(target);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_reads_back(members in vec(member(), 0..12)) {
        let archive = write(&members);
        prop_assert_eq!(archive.len() % BLOCK_BYTES, 0);
        prop_assert_eq!(read(&archive).unwrap(), members);
    }

    #[test]
    fn another_reader_sees_the_same_members(mut members in vec(member(), 1..8)) {
        for (entry, _) in &mut members {
            without_newlines(entry);
        }
        let archive = write(&members);
        let mut other = ::tar::Archive::new(&archive[..]);
        let mut seen = 0;
        for (theirs, (ours, content)) in other.entries().unwrap().zip(&members) {
            let mut theirs = theirs.unwrap();
            let path = theirs.path_bytes().into_owned();
            prop_assert_eq!(path.strip_suffix(b"/").unwrap_or(&path), &ours.path[..]);
            prop_assert_eq!(theirs.header().mode().unwrap(), ours.mode);
            if let Kind::Hardlink { target } | Kind::Symlink { target } = &ours.kind {
                let link = theirs.link_name_bytes().unwrap().into_owned();
                prop_assert_eq!(&link, target);
            }
            let mut bytes = Vec::new();
            theirs.read_to_end(&mut bytes).unwrap();
            prop_assert_eq!(&bytes, content);
            seen += 1;
        }
        prop_assert_eq!(seen, members.len());
    }

    #[test]
    fn damaged_archives_never_panic(members in vec(member(), 1..4), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut archive = write(&members);
        let at = at.index(archive.len());
        archive[at] = with;
        let _ = read(&archive);
        let _ = read(&archive[..at]);
    }

    #[test]
    fn noise_under_a_valid_sum_never_panics(
        noise in vec(any::<u8>(), 512..513),
        flag in prop::sample::select(&b"\x00012345678xgLKSVX"[..]),
        has_numbers in any::<bool>(),
        content in vec(any::<u8>(), 0..2000),
    ) {
        let mut block: Block = noise.try_into().unwrap();
        if has_numbers {
            block[100..124].fill(b'1');
            block[136..148].fill(b'1');
            block[329..345].fill(b'1');
        }
        block[156] = flag;
        block[124..136].copy_from_slice(b"00000003000\0");
        put_sum(&mut block);
        // What is read in spite of all is written and read again.
        let members: Vec<_> = read_whole(&[&block[..], &content].concat())
            .into_iter()
            .filter(|(entry, _)| !entry.path.is_empty())
            .collect();
        prop_assert_eq!(read(&write(&members)).unwrap(), members);
    }
}

/// Reads the members before the first error; holes without end are not among them.
fn read_whole(archive: &[u8]) -> Vec<Member> {
    let mut reader = Reader::new(archive);
    let mut members = Vec::new();
    while let Ok(Some(entry)) = reader.next() {
        let mut content = Vec::new();
        if entry.size() > 1 << 20 || reader.read_to_end(&mut content).is_err() {
            break;
        }
        members.push((entry, content));
    }
    members
}

#[test]
fn an_empty_archive_is_two_blocks_of_zeros() {
    assert_eq!(write(&[]), [0; 1024]);
}

/// The bytes that Go's `archive/tar` and GNU tar (`--format=ustar`, but for names) give.
#[test]
fn the_header_of_a_plain_file_is_this() {
    let (mut entry, content) = file("etc/motd", b"hello\n");
    (entry.mtime, entry.uid, entry.gid) = (1_700_000_000, 1000, 100);
    let archive = write(&[(entry, content)]);
    let mut expected = [0; 2048];
    expected[..8].copy_from_slice(b"etc/motd");
    expected[100..157]
        .copy_from_slice(b"0000644\x000001750\x000000144\x0000000000006\x0014524770400\x00010732\x00 0");
    expected[257..265].copy_from_slice(b"ustar\x0000");
    expected[329..345].copy_from_slice(b"0000000\x000000000\0");
    expected[512..518].copy_from_slice(b"hello\n");
    let odd = archive.iter().zip(&expected).position(|(ours, theirs)| ours != theirs);
    assert_eq!((odd, archive.len()), (None, expected.len()));
}

#[test]
fn a_long_path_divides_at_a_slash_without_pax() {
    let path = format!("{}/{}", "d".repeat(150), "f".repeat(100));
    let archive = write(&[file(&path, b"")]);
    assert_eq!(archive.len(), 3 * BLOCK_BYTES);
    assert_eq!(read(&archive).unwrap()[0].0.path, path.as_bytes());
}

#[test]
fn what_ustar_cannot_hold_costs_one_pax_header() {
    let base = file("f", b"").0;
    let longer = format!("{}/{}", "d".repeat(156), "f".repeat(100));
    let mut cases = vec![
        Entry { path: longer.into_bytes(), ..base.clone() },
        Entry { path: "é".into(), ..base.clone() },
        Entry { uid: 1 << 21, ..base.clone() },
        Entry { gid: 1 << 21, ..base.clone() },
        Entry { mtime: -1, ..base.clone() },
        Entry { mtime: 1 << 33, ..base.clone() },
        Entry { kind: Kind::Symlink { target: vec![b'l'; 101] }, ..base.clone() },
        Entry { kind: Kind::CharacterDevice { major: 1 << 21, minor: 0 }, ..base.clone() },
        base.clone(),
    ];
    cases[8].xattrs.insert(b"user.a".to_vec(), b"b".to_vec());
    for entry in cases {
        let archive = write(&[(entry.clone(), Vec::new())]);
        assert_eq!(archive.len(), 5 * BLOCK_BYTES, "{entry:?}");
        assert_eq!(archive[156], b'x');
        assert_eq!(read(&archive).unwrap()[0].0, entry);
    }
    for entry in [
        Entry { uid: (1 << 21) - 1, ..base.clone() },
        Entry { mtime: (1 << 33) - 1, ..base.clone() },
        Entry { kind: Kind::Symlink { target: vec![b'l'; 100] }, ..base.clone() },
        Entry { path: vec![b'p'; 100], ..base },
    ] {
        assert_eq!(write(&[(entry, Vec::new())]).len(), 3 * BLOCK_BYTES);
    }
}

#[test]
fn content_of_another_length_is_refused_and_breaks_the_archive() {
    let (entry, _) = file("f", b"four");
    for (content, expected) in [(&b"fou"[..], "ended after 3 of 4"), (b"four!", "longer than the 4 bytes")] {
        let mut writer = Writer::new(Vec::new());
        let error = writer.append(&entry, &mut &content[..]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(matches!(writer.append(&entry, &mut &b"four"[..]), Err(TarError::Unfinished { .. })));
        assert!(matches!(writer.finish(), Err(TarError::Unfinished { .. })));
    }
}

#[test]
fn a_directory_with_content_is_refused() {
    let entry = Entry::new(*b"d", Kind::Directory, 0o755);
    let result = Writer::new(Vec::new()).append(&entry, &mut &b"x"[..]);
    assert!(matches!(result, Err(TarError::ContentLong { .. })));
}

#[test]
fn the_root_is_never_written() {
    let result =
        Writer::new(Vec::new()).append(&Entry::new(*b"", Kind::Directory, 0o755), &mut std::io::empty());
    assert!(matches!(result, Err(TarError::NotNormal { .. })));
}

#[test]
fn content_larger_than_the_buffer_passes_whole() {
    let content: Vec<u8> = (0..700_000u32).map(|number| (number % 251) as u8).collect();
    let members = [file("a", b"x"), file("big", &content), file("z", b"")];
    assert_eq!(read(&write(&members)).unwrap(), members);
}

#[test]
fn the_offset_of_the_data_is_where_it_stands() {
    let archive = write(&[file(&["long"; 80].join("/"), b"first"), file("b", b"second")]);
    let mut reader = Reader::new(&archive[..]);
    for content in [&b"first"[..], b"second"] {
        reader.next().unwrap().unwrap();
        let at = reader.data_offset().unwrap() as usize;
        assert_eq!(&archive[at..at + content.len()], content);
    }
}

#[test]
fn an_archive_cut_inside_an_entry_says_where() {
    let archive = write(&[file("f", &[7; 1000])]);
    assert!(matches!(read(&archive[..100]), Err(TarError::Truncated { offset: 100, missing: 412 })));
    assert!(matches!(read(&archive[..1000]), Err(TarError::Truncated { offset: 1000, missing: 512 })));
    assert!(matches!(read(&archive[..1511]), Err(TarError::Truncated { offset: 1511, missing: 1 })));
    let mut unread = Reader::new(&archive[..1511]);
    unread.next().unwrap().unwrap();
    assert!(matches!(unread.next(), Err(TarError::Truncated { offset: 1511, missing: 1 })));
}

#[test]
fn an_archive_cut_in_the_padding_of_its_last_content_is_at_its_end() {
    let members = [file("f", &[7; 1000])];
    let archive = write(&members);
    for end in 1512..1536 {
        assert_eq!(read(&archive[..end]).unwrap(), members, "{end}");
        let mut unread = Reader::new(&archive[..end]);
        unread.next().unwrap().unwrap();
        assert_eq!(unread.next().unwrap(), None, "{end}");
        assert_eq!(unread.next().unwrap(), None, "{end}");
    }
}

#[test]
fn an_extension_cut_in_its_padding_belongs_to_nothing() {
    let archive = write(&[file(&["long"; 80].join("/"), b"")]);
    let (pax, entry) = (512, 1024);
    assert!(matches!(read(&archive[..entry - 1]), Err(TarError::Truncated { .. })));
    assert!(matches!(read(&archive[..entry]), Err(TarError::Dangling { .. })));
    assert!(matches!(read(&archive[..pax]), Err(TarError::Truncated { .. })));
}

#[test]
fn a_missing_end_mark_on_a_border_is_the_end() {
    let members = [file("f", &[7; 1000])];
    let archive = write(&members);
    assert_eq!(read(&archive[..1536]).unwrap(), members);
    assert_eq!(read(&archive[..2048]).unwrap(), members);
}

#[test]
fn bytes_after_the_end_mark_stay_in_the_source() {
    let mut archive = write(&[file("f", b"x")]);
    archive.extend_from_slice(&[9; 700]);
    let mut reader = Reader::new(&archive[..]);
    while reader.next().unwrap().is_some() {}
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.into_inner(), [9; 700]);
}

#[test]
fn a_single_block_of_zeros_is_no_end() {
    let archive = [&[0; 512][..], &raw(b"f", b'0', 0)].concat();
    assert!(matches!(read(&archive), Err(TarError::LoneZero { offset: 512 })));
}

#[test]
fn a_wrong_sum_is_refused_and_a_signed_one_is_not() {
    let mut block = raw(b"f\xff\xff", b'0', 0);
    block[148..156].copy_from_slice(b"000000\0 ");
    assert!(matches!(read(&block), Err(TarError::Checksum { offset: 0, .. })));
    let signed = super::block::sums(&block).1;
    put_octal(&mut block[148..155], signed as u64);
    assert_eq!(read(&block).unwrap()[0].0.path, b"f\xff\xff");
}

#[test]
fn long_gnu_names_and_links_are_read() {
    let (name, link) = ([b'n'; 300], [b'l'; 200]);
    let archive = [
        raw(b"././@LongLink", b'K', 201).to_vec(),
        padded(&[&link[..], b"\0"].concat()),
        raw(b"././@LongLink", b'L', 301).to_vec(),
        padded(&[&name[..], b"\0"].concat()),
        raw(&name[..100], b'2', 0).to_vec(),
    ]
    .concat();
    let entry = &read(&archive).unwrap()[0].0;
    assert_eq!(entry.path, name);
    assert_eq!(entry.kind, Kind::Symlink { target: link.to_vec() });
}

#[test]
fn an_extension_without_an_entry_is_refused() {
    let archive = [raw(b"x", b'x', 10).to_vec(), padded(b"10 path=a\n")].concat();
    assert!(matches!(read(&archive), Err(TarError::Dangling { offset: 1024 })));
}

#[test]
fn a_global_header_gives_defaults_for_all_that_follow() {
    let archive = [
        raw(b"g", b'g', 34).to_vec(),
        padded(b"12 uid=1234\n12 mtime=-7\n10 path=a\n"),
        raw(b"f", b'0', 0).to_vec(),
        raw(b"x", b'x', 10).to_vec(),
        padded(b"10 uid=55\n"),
        raw(b"h", b'0', 0).to_vec(),
    ];
    let members = read(&archive.concat()).unwrap();
    assert_eq!((members[0].0.uid, members[0].0.mtime, &members[0].0.path[..]), (1234, -7, &b"f"[..]));
    assert_eq!((members[1].0.uid, members[1].0.mtime), (55, -7));
}

#[test]
fn version_7_directories_have_a_slash_and_no_magic() {
    let mut block = raw(b"dir/", b'\0', 0);
    block[257..265].fill(0);
    put_sum(&mut block);
    assert_eq!(read(&block).unwrap()[0].0.kind, Kind::Directory);
    let mut block = raw(b"f", b'\0', 0);
    block[257..265].fill(0);
    put_sum(&mut block);
    assert_eq!(read(&block).unwrap()[0].0.kind, Kind::File { size: 0 });
}

#[test]
fn odd_entries_are_refused_by_name() {
    assert!(matches!(read(&raw(b"f", b'M', 0)), Err(TarError::Kind { flag: b'M', .. })));
    assert!(matches!(read(&raw(b"../f", b'0', 0)), Err(TarError::DotDot { .. })));
    assert!(matches!(read(&raw(b"./", b'0', 0)), Err(TarError::NotNormal { .. })));
    assert!(matches!(read(&raw(b"f", b'L', 1 << 20)), Err(TarError::Limit { what: "path", .. })));
    assert!(matches!(read(&raw(b"f", b'x', 1 << 21)), Err(TarError::Limit { what: "PAX header", .. })));
    let mut link = raw(b"f", b'2', 0);
    link[157..257].fill(0);
    put_sum(&mut link);
    assert!(matches!(read(&link), Err(TarError::EmptyLink { .. })));
}

#[test]
fn the_root_reads_as_the_empty_path() {
    let entry = &read(&raw(b"./", b'5', 0)).unwrap()[0].0;
    assert_eq!((&entry.path[..], &entry.kind), (&b""[..], &Kind::Directory));
}

#[test]
fn the_number_of_headers_is_bounded() {
    /// One header, again and again.
    struct Endless(Cursor<Block>);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.position() == BLOCK_BYTES as u64 {
                self.0.set_position(0);
            }
            self.0.read(buffer)
        }
    }
    let mut reader = Reader::new(Endless(Cursor::new(raw(b"f", b'5', 0))));
    reader.headers = super::limit::MAX_HEADERS - 1;
    assert!(reader.next().unwrap().is_some());
    assert!(matches!(reader.next(), Err(TarError::Limit { what: "number of headers", .. })));
}

fn gnu_tar(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("tar").current_dir(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn every_format_of_gnu_tar_reads_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
    std::fs::create_dir(directory.path().join("d".repeat(90))).unwrap();
    std::fs::write(directory.path().join(&long), [1; 3000]).unwrap();
    std::fs::write(directory.path().join("plain"), b"plain").unwrap();
    std::fs::hard_link(directory.path().join("plain"), directory.path().join("second")).unwrap();
    std::os::unix::fs::symlink("../x", directory.path().join("symlink")).unwrap();
    let mut all = Vec::new();
    for format in ["ustar", "oldgnu", "gnu", "posix"] {
        let options = ["--sort=name", "--mtime=@1700000000", "--format", format, "-c", "."];
        all.push(read(&gnu_tar(directory.path(), &options)).unwrap());
    }
    assert_eq!(all[0].len(), 6);
    assert_eq!(all[0][0].0.path, b"");
    assert!(all[0].iter().any(|(entry, content)| entry.path == long.as_bytes() && content == &[1; 3000]));
    assert!(all[0].iter().any(|(entry, _)| entry.kind == Kind::Hardlink { target: b"plain".to_vec() }));
    assert!(all.iter().all(|members| members == &all[0]));
}

#[test]
fn every_sparse_format_of_gnu_tar_reads_dense() {
    let directory = tempfile::tempdir().unwrap();
    let mut content = vec![0; 3 << 20];
    // More segments than the header and one further block hold.
    for at in 0..40 {
        content[at * 65_536 + 10_000..][..100].fill(b'a' + at as u8 % 26);
    }
    let file = std::fs::File::create(directory.path().join("holes")).unwrap();
    for (at, chunk) in
        content.chunks(4096).enumerate().filter(|(_, chunk)| chunk.iter().any(|&byte| byte != 0))
    {
        std::os::unix::fs::FileExt::write_all_at(&file, chunk, at as u64 * 4096).unwrap();
    }
    file.set_len(3 << 20).unwrap();
    drop(file);
    std::fs::write(directory.path().join("next"), b"after").unwrap();
    let formats = [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ];
    for format in formats {
        let archive = gnu_tar(directory.path(), &[format, &["--sparse", "-c", "holes", "next"]].concat());
        assert!(archive.len() < 1 << 20, "{format:?} was not sparse");
        let members = read(&archive).unwrap();
        assert_eq!(members[0].0.path, b"holes", "{format:?}");
        assert!(members[0].1 == content, "{format:?}");
        assert_eq!(members[1].1, b"after");
    }
}

#[test]
fn gnu_tar_lists_what_is_written() {
    let mut big = Entry::new(*b"big ids", Kind::File { size: 0 }, 0o4755);
    (big.uid, big.gid, big.mtime) = (4_000_000_000, 3_000_000, -86_400);
    big.xattrs.insert(b"user.k".to_vec(), b"v\n\0w".to_vec());
    let long = format!("{}/{}", "d".repeat(200), "é".repeat(80));
    let members = [
        (Entry::new(*b"dir", Kind::Directory, 0o1777), Vec::new()),
        file(&long, b"content"),
        (Entry::new(*b"hard", Kind::Hardlink { target: long.clone().into_bytes() }, 0o644), Vec::new()),
        (Entry::new(*b"null", Kind::CharacterDevice { major: 1, minor: 3 }, 0o666), Vec::new()),
        (big, Vec::new()),
    ];
    let mut child = Command::new("tar")
        .args(["--numeric-owner", "--utc", "--quoting-style=literal", "--xattrs", "-tvvf", "-"])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&write(&members)).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listing = String::from_utf8(output.stdout).unwrap();
    for fact in [
        "drwxrwxrwt  0/0",
        " dir/\n",
        &format!("7 1970-01-01 00:00 {long}\n"),
        &format!("hard link to {long}\n"),
        "1,3 1970-01-01 00:00 null\n",
        "-rwsr-xr-x* 4000000000/3000000 0 1969-12-31 00:00 big ids\n",
    ] {
        assert!(listing.contains(fact), "{fact}\n---\n{listing}");
    }
}

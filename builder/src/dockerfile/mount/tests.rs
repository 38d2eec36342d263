//! Tables of mount options and what they mean.

use super::super::ast::{Escape, Word};
use super::super::error::ParseErrorKind;
use super::super::span::Span;
use super::value::split_fields;
use super::{
    BindMount, CacheMount, FileOwner, Mount, MountErrorKind, MountFlag, SecretMount, Sharing, SshMount,
    TmpfsMount,
};

fn parse(text: &str) -> Result<MountFlag, ParseErrorKind> {
    let word = Word { text: text.to_owned(), span: Span::new(0, text.len()) };
    MountFlag::parse(word, Escape::Backslash).map_err(|error| error.kind)
}

fn mount(text: &str) -> Mount {
    parse(text).unwrap().resolve(&mut |value| Ok(value.replace("$dir", "/d"))).unwrap()
}

#[track_caller]
fn fails(text: &str, wanted: MountErrorKind) {
    assert_eq!(parse(text).unwrap_err(), ParseErrorKind::Mount(wanted), "{text}");
}

#[test]
fn a_mount_without_a_type_binds() {
    let wanted = BindMount { target: "/t".into(), from: None, source: Some("s".into()), read_only: true };
    assert_eq!(mount("target=/t,source=s"), Mount::Bind(wanted));
}

#[test]
fn aliases_mean_the_same() {
    for target in ["target", "dst", "destination", "TARGET"] {
        for source in ["source", "src"] {
            let wanted = BindMount {
                target: "/t".into(),
                from: Some("f".into()),
                source: Some("s".into()),
                read_only: false,
            };
            assert_eq!(mount(&format!("type=bind,{target}=/t,{source}=s,from=f,rw")), Mount::Bind(wanted));
        }
    }
}

#[test]
fn every_option_of_a_cache() {
    let text = "type=cache,id=i,target=/t,sharing=locked,from=f,source=s,mode=0750,uid=7,gid=8,ro=true";
    let wanted = CacheMount {
        target: "/t".into(),
        id: Some("i".into()),
        from: Some("f".into()),
        source: Some("s".into()),
        read_only: true,
        sharing: Sharing::Locked,
        owner: FileOwner { mode: Some(0o750), uid: Some(7), gid: Some(8) },
    };
    assert_eq!(mount(text), Mount::Cache(wanted));
}

#[test]
fn a_cache_is_writable_and_shared_by_default() {
    let Mount::Cache(cache) = mount("type=cache,target=/t") else { panic!() };
    assert_eq!((cache.read_only, cache.sharing), (false, Sharing::Shared));
    let Mount::Cache(cache) = mount("type=cache,target=/t,rw=false,sharing=Private") else { panic!() };
    assert_eq!((cache.read_only, cache.sharing), (true, Sharing::Private));
}

#[test]
fn a_secret_is_named_by_id_source_or_target() {
    let secret = |id: &str, target: Option<&str>| {
        let target = target.map(str::to_owned);
        Mount::Secret(SecretMount {
            id: id.into(),
            target,
            env: None,
            required: false,
            owner: FileOwner::default(),
        })
    };
    assert_eq!(mount("type=secret,id=a,target=/x/b"), secret("a", Some("/x/b")));
    assert_eq!(mount("type=secret,source=a"), secret("a", None));
    assert_eq!(mount("type=secret,target=/x/b"), secret("b", Some("/x/b")));
}

#[test]
fn a_secret_may_be_a_required_variable() {
    let owner = FileOwner { mode: Some(0o400), uid: Some(1), gid: Some(2) };
    let wanted =
        SecretMount { id: "a".into(), target: None, env: Some("TOKEN".into()), required: true, owner };
    assert_eq!(
        mount("type=secret,id=a,env=TOKEN,required,mode=400,uid=1,gid=2"),
        Mount::Secret(wanted.clone())
    );
    // The type may come last.
    assert_eq!(mount("id=a,env=TOKEN,required=1,mode=0400,uid=1,gid=2,type=SECRET"), Mount::Secret(wanted));
}

#[test]
fn ssh_needs_nothing() {
    let wanted = SshMount { id: None, target: None, required: false, owner: FileOwner::default() };
    assert_eq!(mount("type=ssh"), Mount::Ssh(wanted));
}

#[test]
fn sizes_are_binary() {
    let table =
        [("5", 5), ("1k", 1 << 10), ("2KB", 2 << 10), ("3mib", 3 << 20), ("1.5G", 3 << 29), ("1 t", 1 << 40)];
    for (size, bytes) in table {
        let wanted = TmpfsMount { target: "/t".into(), size: Some(bytes) };
        assert_eq!(mount(&format!("type=tmpfs,target=/t,size={size}")), Mount::Tmpfs(wanted), "{size}");
    }
}

#[test]
fn quoted_fields_hold_commas() {
    let Mount::Bind(bind) = mount(r#""target=/a,b",source=s"#) else { panic!() };
    assert_eq!((bind.target.as_str(), bind.source.as_deref()), ("/a,b", Some("s")));
    assert_eq!(split_fields(r#"a,"b""c,",d"#), Some(vec!["a".into(), "b\"c,".into(), "d".into()]));
    for text in [r#""target=/t"#, r#"target="/t""#, r#""target=/t"x"#] {
        fails(text, MountErrorKind::BadQuotes);
    }
}

#[test]
fn variables_wait_for_their_values() {
    let Mount::Cache(cache) = mount("type=cache,target=$dir/x,uid=1") else { panic!() };
    assert_eq!(cache.target, "/d/x");
    let flag = parse("type=cache,target=/t,uid=$nobody").unwrap();
    let error = flag.resolve(&mut |value| Ok(value.replace("$nobody", "x"))).unwrap_err();
    assert!(matches!(error.kind, ParseErrorKind::Mount(MountErrorKind::InvalidValue { key: "uid", .. })));
}

#[test]
fn from_cannot_be_a_variable() {
    assert_eq!(parse("type=bind,target=/t,from=$x").unwrap_err(), ParseErrorKind::VariableInFrom);
    assert!(parse("type=bind,target=/t,from=x$").is_ok());
}

#[test]
fn wrong_values_are_named() {
    let table = [
        ("type=volume", "type"),
        ("type=cache,target=/t,sharing=some", "sharing"),
        ("type=cache,target=/t,mode=9", "mode"),
        ("type=cache,target=/t,mode=+7", "mode"),
        ("type=cache,target=/t,uid=-1", "uid"),
        ("type=cache,target=/t,gid=99999999999", "gid"),
        ("type=bind,target=/t,ro=yes", "readonly"),
        ("type=secret,id=a,required=maybe", "required"),
        ("type=tmpfs,target=/t,size=big", "size"),
        ("type=tmpfs,target=/t,size=1ib", "size"),
        ("type=tmpfs,target=/t,size=99999999p", "size"),
    ];
    for (text, wanted) in table {
        let error = parse(text).unwrap_err();
        assert!(
            matches!(error, ParseErrorKind::Mount(MountErrorKind::InvalidValue { key, .. }) if key == wanted),
            "{text}: {error:?}"
        );
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let suggestion = Some("target");
    fails("tarket=/t", MountErrorKind::UnknownOption { key: "tarket".into(), suggestion });
    fails("target=/t,", MountErrorKind::UnknownOption { key: String::new(), suggestion: None });
    fails("target", MountErrorKind::MissingValue { key: "target" });
    fails("type=secret", MountErrorKind::UnnamedSecret);
    fails("type=secret,target=/", MountErrorKind::UnnamedSecret);
    fails("type=secret,id=a,source=b", MountErrorKind::BothIdAndSource);
    fails("type=bind,target=/t,size=1", MountErrorKind::NotForType { key: "size", kind: "bind" });
    fails("type=tmpfs,target=/t,mode=7", MountErrorKind::NotForType { key: "mode", kind: "tmpfs" });
    fails("type=bind,target=/t,sharing=locked", MountErrorKind::NotForType { key: "sharing", kind: "bind" });
    fails("type=bind,target=/t,required", MountErrorKind::NotForType { key: "required", kind: "bind" });
    fails("type=secret,id=a,from=b", MountErrorKind::NotForType { key: "from", kind: "secret" });
    fails("type=ssh,source=a", MountErrorKind::NotForType { key: "source", kind: "ssh" });
}

#[test]
fn what_means_nothing_is_ignored() {
    assert_eq!(mount("type=bind,target=/t,id=a,env=b"), mount("type=bind,target=/t"));
    assert_eq!(mount("type=ssh,rw,from=a,env=b"), mount("type=ssh"));
    assert_eq!(mount("type=tmpfs,target=/t,source=a,from=b,id=c"), mount("type=tmpfs,target=/t"));
}

#[test]
fn a_mount_without_a_target_is_at_the_working_directory() {
    for text in ["type=bind", "type=bind,target="] {
        let Mount::Bind(bind) = mount(text) else { panic!() };
        assert_eq!(bind.target, "");
    }
    assert!(matches!(mount("type=cache,id=x"), Mount::Cache(CacheMount { target, .. }) if target.is_empty()));
}

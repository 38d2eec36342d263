//! An image's own passwd and group files, line by line.
//!
//! ```text
//! passwd   name:password:uid:gid:comment:home:shell
//! group    name:password:gid:member,member
//! ```
//!
//! Never the C library's lookup: it would read the host's files, or load modules into a static binary.
//! A line that cannot be read is passed over, as every other reader of these files does.
//!
//! Not here: whom a text names, which is one thing for USER (`user.rs`) and another for `--chown`
//! (`op/copy/owner.rs`).

/// A line of passwd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account<'a> {
    /// Login name; empty for a user without an entry.
    pub name: &'a str,
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: &'a str,
}

/// A line of group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its number.
    pub gid: u32,
    /// Who is in it, between commas.
    members: &'a str,
}

impl Group<'_> {
    /// Whether it lists a user.
    pub fn lists(&self, user: &str) -> bool {
        self.members.split(',').any(|member| member == user)
    }
}

/// Returns the users of a passwd file.
pub fn users(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| is_name(name))?;
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or("/");
        Some(Account { name, uid, gid, home })
    })
}

/// Returns the groups of a group file.
pub fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| is_name(name))?;
        let gid = number(fields.nth(1)?)?;
        Some(Group { name, gid, members: fields.next().unwrap_or("") })
    })
}

/// Reads a user's or a group's number. The kernel reads -1 as "leave it as it is", so the highest number
/// is nobody's.
pub fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&number| is_digits(text) && number != u32::MAX)
}

/// Whether a text is a number, perhaps one that nobody can have.
pub fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

// Lines of NIS ("+::::") and comments are not accounts.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '+', '-'])
}

#[cfg(test)]
mod tests {
    use super::{groups, number, users};

    #[test]
    fn lines_that_cannot_be_read_are_passed_over() {
        let passwd = "root:x:0:0::/root:\n# a comment\n+::::::\nbroken\n:x:1:1::/:\nx:x:-1:0::/:\n app:x:7:8:a:/home:sh\r\n";
        let names: Vec<_> = users(passwd).map(|user| (user.name, user.uid, user.gid, user.home)).collect();
        assert_eq!(names, [("root", 0, 0, "/root"), ("app", 7, 8, "/home")]);
        let names: Vec<_> =
            groups("root:x:0:\n-::\nweb:x:34:a,bc\nnone:x:\n").map(|group| group.gid).collect();
        assert_eq!(names, [0, 34]);
    }

    #[test]
    fn a_short_line_is_enough_for_the_numbers() {
        assert_eq!(users("a:x:1:2").next().unwrap().home, "/");
        assert!(!groups("g:x:1").next().unwrap().lists("a"));
        assert!(groups("g:x:1:b,a").next().unwrap().lists("a"));
    }

    #[test]
    fn numbers_that_nobody_can_have_are_none() {
        assert_eq!(number("4294967294"), Some(4_294_967_294));
        for text in ["", "-1", "+5", " 5", "4294967295", "99999999999"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }
}

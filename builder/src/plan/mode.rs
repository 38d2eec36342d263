//! `--chmod`: octal or symbolic, as chmod(1) reads it with an umask of 0.
//!
//! ```text
//! 755   04755   u=rwX,go=rX   +x   a-w   u+s,o=
//! ```

use std::fmt;

/// A change of mode, printed as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mode {
    text: String,
    change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Change {
    /// These bits exactly.
    Octal(u32),
    /// Clauses, one after the other.
    Symbolic(Vec<Clause>),
}

/// One clause of a symbolic mode: `go=rX`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Clause {
    /// Masks of the classes that are meant: `0o700` for the owner.
    who: u32,
    operator: Operator,
    permissions: Vec<Permission>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operator {
    Add,
    Assign,
    Remove,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Permission {
    /// `r`, `w`, `x` as bits of one class.
    Bits(u32),
    /// `X`: execute, for directories and for what somebody may execute already.
    ConditionalExecute,
    /// `s`
    SetId,
    /// `t`
    Sticky,
    /// `u`, `g` or `o`: as that class has now; the number of bits to shift.
    Like(u32),
}

/// A text that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a mode (octal up to 07777, or symbolic like u=rwX,go=rX)")]
pub struct ModeError {
    /// As it was written.
    pub text: String,
}

impl Mode {
    /// Reads a mode.
    pub fn parse(text: &str) -> Result<Self, ModeError> {
        let error = || ModeError { text: text.chars().take(160).collect() };
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let bits = u32::from_str_radix(text, 8).ok().filter(|&bits| bits <= 0o7777);
            let bits = bits.ok_or_else(error)?;
            return Ok(Self { text: text.to_owned(), change: Change::Octal(bits) });
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            parse_part(part, &mut clauses).ok_or_else(error)?;
        }
        Ok(Self { text: text.to_owned(), change: Change::Symbolic(clauses) })
    }

    /// Returns what a mode becomes.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match &self.change {
            Change::Octal(bits) => *bits,
            Change::Symbolic(clauses) => {
                clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_directory))
            }
        }
    }
}

impl Mode {
    /// Returns the mode of directories that COPY makes on the way to its destination: the permissions of
    /// an octal mode, and of a symbolic one nothing, as in BuildKit.
    pub fn of_made_directories(&self) -> u32 {
        match &self.change {
            Change::Octal(bits) => bits & 0o777,
            Change::Symbolic(_) => 0o755,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One part between commas: classes, then one or more operators with permissions.
fn parse_part(part: &str, clauses: &mut Vec<Clause>) -> Option<()> {
    let split = part.find(['+', '-', '='])?;
    let mut who = 0;
    for class in part[..split].chars() {
        who |= match class {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            'a' => 0o777,
            _ => return None,
        };
    }
    let who = if who == 0 { 0o777 } else { who };
    let mut rest = &part[split..];
    while let Some(sign) = rest.chars().next() {
        let operator = match sign {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            '=' => Operator::Assign,
            _ => return None,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
        let permissions = rest[1..end].chars().map(permission).collect::<Option<Vec<_>>>()?;
        clauses.push(Clause { who, operator, permissions });
        rest = &rest[end..];
    }
    Some(())
}

fn permission(letter: char) -> Option<Permission> {
    Some(match letter {
        'r' => Permission::Bits(0o4),
        'w' => Permission::Bits(0o2),
        'x' => Permission::Bits(0o1),
        'X' => Permission::ConditionalExecute,
        's' => Permission::SetId,
        't' => Permission::Sticky,
        'u' => Permission::Like(6),
        'g' => Permission::Like(3),
        'o' => Permission::Like(0),
        _ => return None,
    })
}

impl Clause {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let mut bits = 0;
        for permission in &self.permissions {
            // The same three bits for every class; the mask picks the classes that are meant.
            let everywhere = |bits: u32| bits << 6 | bits << 3 | bits;
            bits |= match permission {
                Permission::Bits(one) => everywhere(*one) & self.who,
                Permission::ConditionalExecute if is_directory || mode & 0o111 != 0 => 0o111 & self.who,
                Permission::ConditionalExecute => 0,
                Permission::SetId => self.set_id(),
                Permission::Sticky if self.who & 0o007 != 0 => 0o1000,
                Permission::Sticky => 0,
                Permission::Like(shift) => everywhere(mode >> shift & 0o7) & self.who,
            };
        }
        let sticky = if self.who & 0o007 == 0 { 0 } else { 0o1000 };
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Assign => mode & !(self.who | self.set_id() | sticky) | bits,
        }
    }

    /// The set-id bits of the classes that are meant.
    fn set_id(&self) -> u32 {
        (if self.who & 0o700 == 0 { 0 } else { 0o4000 }) | (if self.who & 0o070 == 0 { 0 } else { 0o2000 })
    }
}

#[cfg(test)]
mod tests {
    use super::Mode;

    fn apply(text: &str, mode: u32, is_directory: bool) -> u32 {
        Mode::parse(text).unwrap().apply(mode, is_directory)
    }

    #[test]
    fn octal_is_taken_as_it_is() {
        assert_eq!(apply("0755", 0o600, false), 0o755);
        assert_eq!(apply("4711", 0o600, true), 0o4711);
    }

    #[test]
    fn symbolic_modes_work_as_in_chmod() {
        for (text, before, is_directory, after) in [
            ("+x", 0o644, false, 0o755),
            ("u+x", 0o644, false, 0o744),
            ("a-w", 0o666, false, 0o444),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("o=", 0o757, false, 0o750),
            ("g=u", 0o640, false, 0o660),
            ("u+s,g+s", 0o755, false, 0o6755),
            ("u=rwx", 0o4755, false, 0o755),
            ("+t", 0o777, true, 0o1777),
            ("u-x+w", 0o500, false, 0o600),
            ("=r", 0o777, false, 0o444),
        ] {
            assert_eq!(apply(text, before, is_directory), after, "{text} on {before:o}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["10000", "8", "u", "u+q", "x+r", "", ",", "u=r,", "99999999999"] {
            assert!(Mode::parse(text).is_err(), "{text:?}");
        }
    }
}

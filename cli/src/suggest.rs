//! Names that were probably meant.

/// More than this helps nobody.
const SHOWN: usize = 3;

/// Returns the few of `there` that are most like `typed`, the likest first; often none.
pub(crate) fn similar<'a>(typed: &str, there: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut close: Vec<(usize, &str)> =
        there.into_iter().filter_map(|name| Some((likeness(typed, name)?, name))).collect();
    close.sort();
    close.dedup();
    close.into_iter().take(SHOWN).map(|(_, name)| name).collect()
}

/// How far a name is from what was typed, or `None` if nobody would take one for the other.
fn likeness(typed: &str, name: &str) -> Option<usize> {
    let bare = |text: &str| {
        let last = text.rsplit('/').next().unwrap_or(text);
        last.split([':', '@']).next().unwrap_or(last).to_owned()
    };
    // The same word under another registry or with another tag.
    if !bare(typed).is_empty() && bare(typed) == bare(name) {
        return Some(0);
    }
    let distance = distance(typed, name);
    // A third of the letters may be wrong.
    (distance * 3 <= typed.chars().count()).then_some(distance)
}

/// Letters to add, take away or change, as Levenshtein counts them.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::similar;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(similar("bsuybox:latest", ["debian:12", "busybox:latest"]), ["busybox:latest"]);
    }

    #[test]
    fn the_same_name_elsewhere_or_with_another_tag_is_likely() {
        let there = ["quay.io/team/app:1", "app:2", "other:1"];
        assert_eq!(similar("app:latest", there), ["app:2", "quay.io/team/app:1"]);
    }

    #[test]
    fn nothing_alike_is_nothing() {
        assert!(similar("app:latest", ["debian:bookworm"]).is_empty());
    }
}

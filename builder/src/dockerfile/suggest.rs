//! "Did you mean": the nearest of a few known names.

/// Longer names are not compared: no known name comes near.
const MAX_CHARS: usize = 32;

/// Returns the candidate that a typist most likely meant, if any is near enough.
pub(crate) fn nearest<'c>(typed: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let typed: Vec<char> = typed.to_lowercase().chars().take(MAX_CHARS + 1).collect();
    if typed.len() > MAX_CHARS {
        return None;
    }
    let allowed = (typed.len() / 3).max(1);
    candidates
        .iter()
        .map(|&candidate| (distance(&typed, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= allowed && distance < candidate.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
fn distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, &a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in to.iter().enumerate() {
            let mut cost = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == to[j - 1] && b == from[i - 1] {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_of_the_finger_are_understood() {
        let names = ["COPY", "CMD", "FROM", "ENTRYPOINT", "RUN"];
        for (typed, meant) in
            [("FORM", "FROM"), ("cpoy", "COPY"), ("RUNN", "RUN"), ("ENTRYPONT", "ENTRYPOINT")]
        {
            assert_eq!(nearest(typed, &names), Some(meant), "{typed}");
        }
    }

    #[test]
    fn far_names_are_not_guessed() {
        assert_eq!(nearest("INCLUDE", &["COPY", "RUN"]), None);
        assert_eq!(nearest("", &["COPY", "RUN"]), None);
        assert_eq!(nearest(&"x".repeat(5000), &["COPY"]), None);
    }
}

//! Scopes: what a token shall allow.
//!
//! ```text
//! repository:team/app:pull,push        registry:catalog:*
//! └ resource ───────┘ └ actions
//! ```
//!
//! distribution/distribution, docs/spec/auth/scope.md

use std::collections::BTreeSet;
use std::fmt;

/// A resource and what shall be allowed on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Scope {
    resource: String,
    actions: BTreeSet<String>,
}

/// What is about to be done in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read.
    Pull,
    /// Read and write.
    Push,
    /// Delete. Some registries ask for `delete`, others do not know the word: `*` suits both.
    Delete,
}

impl Scope {
    pub(crate) fn repository(path: &str, access: Access) -> Self {
        let actions: &[&str] = match access {
            Access::Pull => &["pull"],
            Access::Push => &["pull", "push"],
            Access::Delete => &["*"],
        };
        Self::new(format!("repository:{path}"), actions.iter().copied())
    }

    pub(crate) fn catalog() -> Self {
        Self::new("registry:catalog".to_owned(), ["*"])
    }

    fn new<'a>(resource: String, actions: impl IntoIterator<Item = &'a str>) -> Self {
        Self { resource, actions: actions.into_iter().map(str::to_owned).collect() }
    }

    /// Reads the scopes of a challenge, divided by spaces. What is no scope is left out.
    pub(crate) fn parse_list(text: &str) -> Vec<Self> {
        let parse = |word: &str| {
            let (resource, actions) = word.rsplit_once(':')?;
            let actions = actions.split(',').filter(|action| !action.is_empty());
            resource.contains(':').then(|| Self::new(resource.to_owned(), actions))
        };
        text.split_ascii_whitespace().filter_map(parse).collect()
    }

    /// Returns `first` and `second` with one scope for each resource. Those of `first` stay in front:
    /// some token servers look at the first scope only.
    pub(crate) fn merge(first: &[Self], second: &[Self]) -> Vec<Self> {
        let mut merged: Vec<Self> = Vec::new();
        for scope in first.iter().chain(second) {
            match merged.iter_mut().find(|known| known.resource == scope.resource) {
                Some(known) => known.actions.extend(scope.actions.iter().cloned()),
                None => merged.push(scope.clone()),
            }
        }
        for scope in &mut merged {
            // `*` holds the others, and a server that does not know one of them may refuse all.
            if scope.actions.contains("*") {
                scope.actions.retain(|action| action == "*");
            }
        }
        merged
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.resource)?;
        for (index, action) in self.actions.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{action}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Scope};

    fn printed(scopes: &[Scope]) -> Vec<String> {
        scopes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_challenges_scopes_are_read_whole() {
        let scopes = Scope::parse_list("repository:host:5000/a:push,pull  registry:catalog:* nonsense");
        assert_eq!(printed(&scopes), ["repository:host:5000/a:pull,push", "registry:catalog:*"]);
    }

    #[test]
    fn one_resource_has_one_scope_and_the_demanded_one_is_first() {
        let demanded = Scope::parse_list("repository:b:pull repository:a:push");
        let own = [Scope::repository("a", Access::Pull)];
        assert_eq!(printed(&Scope::merge(&demanded, &own)), ["repository:b:pull", "repository:a:pull,push"]);
    }

    #[test]
    fn a_star_swallows_the_words_that_some_registries_refuse() {
        let demanded = Scope::parse_list("repository:a:delete");
        let own = [Scope::repository("a", Access::Delete)];
        assert_eq!(printed(&Scope::merge(&demanded, &own)), ["repository:a:*"]);
    }
}

//! Secrets whose names say that they are credentials, of web servers and of repositories.
//!
//! ```text
//! HTTP_AUTH_HEADER_<host>    HTTP_AUTH_TOKEN_<host>       value of `Authorization`; a token is a Bearer
//! GIT_AUTH_HEADER[.<host>]   GIT_AUTH_TOKEN[.<host>]      the same; a token is the password of x-access-token
//! ```
//!
//! Names, order and meaning are BuildKit's; a host of a repository has its port, that of a file has not.
//! Whoever uses them sends them to that origin alone, and to none that it redirects to.
//! <https://docs.docker.com/build/building/secrets/>

use base64::Engine as _;

use super::{Secret, Secrets};

/// A secret that no header can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secret {id:?} cannot be a header: it has more than one line, or characters that no header has")]
pub struct HeaderError {
    /// Which.
    pub id: String,
}

impl Secrets {
    /// Returns the value of `Authorization` for a file of a web server, if one was given.
    pub fn of_file(&self, url: &str) -> Result<Option<String>, HeaderError> {
        let Some(authority) = authority(url) else { return Ok(None) };
        let host = host(authority);
        let token = self.header(&format!("HTTP_AUTH_TOKEN_{host}"))?.map(|token| format!("Bearer {token}"));
        match token {
            Some(token) => Ok(Some(token)),
            None => self.header(&format!("HTTP_AUTH_HEADER_{host}")),
        }
    }

    /// Returns the value of `Authorization` for a repository that a web server has, if one was given.
    pub fn of_repository(&self, address: &str) -> Result<Option<String>, HeaderError> {
        let Some(authority) = authority(address) else { return Ok(None) };
        for suffix in [format!(".{authority}"), String::new()] {
            if let Some(header) = self.header(&format!("GIT_AUTH_HEADER{suffix}"))? {
                return Ok(Some(header));
            }
            if let Some(token) = self.header(&format!("GIT_AUTH_TOKEN{suffix}"))? {
                let pair = format!("x-access-token:{token}");
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                return Ok(Some(format!("Basic {pair}")));
            }
        }
        Ok(None)
    }

    fn header(&self, id: &str) -> Result<Option<String>, HeaderError> {
        let Some(secret) = self.get(id) else { return Ok(None) };
        let header = text(secret).ok_or_else(|| HeaderError { id: id.to_owned() })?;
        Ok(Some(header))
    }
}

/// Returns what a header may hold; a file's last newline is none of it.
fn text(secret: &Secret) -> Option<String> {
    let text = std::str::from_utf8(secret.expose()).ok()?.trim_end_matches(['\r', '\n']);
    let is_sound = text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    is_sound.then(|| text.to_owned())
}

/// Returns host and port of a web address, without users.
fn authority(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

/// Cuts the port off; an address of IPv6 loses its brackets too.
fn host(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, Secrets};

    fn secrets(given: &[(&str, &str)]) -> Secrets {
        given.iter().map(|(id, value)| ((*id).to_owned(), Secret::new(*value))).collect()
    }

    #[test]
    fn a_file_gets_what_its_host_is_for_and_no_other() {
        let secrets = secrets(&[
            ("HTTP_AUTH_TOKEN_q.io", "t\n"),
            ("HTTP_AUTH_HEADER_r.io", "Basic abc"),
            ("HTTP_AUTH_TOKEN_::1", "six"),
        ]);
        for (url, expected) in [
            ("https://q.io/x", Some("Bearer t")),
            ("http://q.io:8080?x", Some("Bearer t")),
            ("https://user:pw@r.io/x@q.io", Some("Basic abc")),
            ("http://[::1]:80/x", Some("Bearer six")),
            ("https://sub.q.io/x", None),
            ("https://q.io.evil/x", None),
            ("https://evil/q.io", None),
            ("ssh://q.io/x", None),
        ] {
            assert_eq!(secrets.of_file(url).unwrap().as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_repository_gets_its_hosts_own_before_everybodys() {
        let own = secrets(&[("GIT_AUTH_TOKEN.q.io:8443", "t"), ("GIT_AUTH_HEADER", "Basic all")]);
        let of = |secrets: &Secrets, url: &str| secrets.of_repository(url).unwrap();
        // x-access-token:t
        assert_eq!(of(&own, "https://q.io:8443/a.git").as_deref(), Some("Basic eC1hY2Nlc3MtdG9rZW46dA=="));
        assert_eq!(of(&own, "https://q.io/a.git").as_deref(), Some("Basic all"));
        assert_eq!(of(&own, "git@q.io:a"), None);
        assert_eq!(of(&Secrets::default(), "https://q.io/a.git"), None);
    }

    #[test]
    fn what_no_header_can_hold_is_told_without_itself() {
        let secrets = secrets(&[("GIT_AUTH_HEADER", "hunter2\r\nX-Other: 1")]);
        let error = secrets.of_repository("https://q.io/a").unwrap_err().to_string();
        assert!(error.contains("GIT_AUTH_HEADER") && !error.contains("hunter2"), "{error}");
    }
}

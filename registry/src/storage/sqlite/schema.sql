-- What is where. Times are Unix seconds. Digests are text so that people can read the file.

-- Every repository that ever held a blob or manifest.
CREATE TABLE repo (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE
) STRICT;

-- Bytes that were published, by digest. `key` is the blob store's name for them.
CREATE TABLE blob (
    digest   TEXT PRIMARY KEY,
    size     INTEGER NOT NULL,
    key      TEXT NOT NULL,
    created  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A blob is readable only through a repository that links it.
CREATE TABLE repo_blob (
    repo    INTEGER NOT NULL REFERENCES repo,
    digest  TEXT NOT NULL REFERENCES blob,
    linked  INTEGER NOT NULL,
    PRIMARY KEY (repo, digest)
) STRICT, WITHOUT ROWID;
-- For mounts from anywhere, and for the question who still needs a blob.
CREATE INDEX repo_blob_by_digest ON repo_blob (digest);

-- Manifests are blobs too; small ones are repeated here, so that a pull reads one row.
CREATE TABLE manifest (
    id             INTEGER PRIMARY KEY,
    repo           INTEGER NOT NULL REFERENCES repo,
    digest         TEXT NOT NULL REFERENCES blob,
    media_type     TEXT NOT NULL,
    size           INTEGER NOT NULL,
    artifact_type  TEXT,
    subject        TEXT,
    annotations    TEXT,
    created        INTEGER NOT NULL,
    body           BLOB,
    UNIQUE (repo, digest)
) STRICT;
CREATE INDEX manifest_by_subject ON manifest (repo, subject, digest) WHERE subject IS NOT NULL;
CREATE INDEX manifest_by_digest ON manifest (digest);

-- What a manifest names; the subject is not among them.
CREATE TABLE edge (
    repo    INTEGER NOT NULL REFERENCES repo,
    parent  TEXT NOT NULL,
    child   TEXT NOT NULL,
    kind    TEXT NOT NULL CHECK (kind IN ('config', 'layer', 'child')),
    PRIMARY KEY (repo, parent, child, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX edge_by_child ON edge (repo, child);

CREATE TABLE tag (
    repo     INTEGER NOT NULL REFERENCES repo,
    name     TEXT NOT NULL,
    digest   TEXT NOT NULL,
    updated  INTEGER NOT NULL,
    PRIMARY KEY (repo, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_digest ON tag (repo, digest);

-- Every move of every tag, for ever; no digest: the tag was deleted.
CREATE TABLE tag_log (
    id      INTEGER PRIMARY KEY,
    repo    INTEGER NOT NULL REFERENCES repo,
    name    TEXT NOT NULL,
    digest  TEXT,
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX tag_log_by_name ON tag_log (repo, name, id);

-- Sessions. `repo` is a name: a repository exists only once something is in it.
CREATE TABLE upload (
    id         TEXT PRIMARY KEY,
    repo       TEXT NOT NULL,
    algorithm  TEXT NOT NULL,
    offset     INTEGER NOT NULL,
    hash       BLOB NOT NULL,
    started    INTEGER NOT NULL,
    touched    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_by_touched ON upload (touched);

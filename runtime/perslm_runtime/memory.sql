-- The memory's schema, as numbered migrations. Each runs once, in one transaction, in order; a released one is never
-- edited. `PRAGMA user_version` holds the number of the last one that ran.

-- migration 1: people, memories, their words and their meaning

CREATE TABLE setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE person (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- A turn (what was said and what was replied) or a fact (`said` holds it, `reply` is empty).
-- AUTOINCREMENT: the id on a receipt never comes to mean another memory.
CREATE TABLE memory (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('turn', 'fact')),
    person INTEGER NOT NULL REFERENCES person (id),
    at_us INTEGER NOT NULL,
    conversation TEXT,
    said TEXT NOT NULL,
    reply TEXT NOT NULL,
    interrupted INTEGER NOT NULL DEFAULT 0,
    model TEXT NOT NULL DEFAULT '',
    source TEXT NOT NULL DEFAULT '',
    same BLOB,  -- digest of a fact's normalised text: one row per fact and person
    CHECK ((kind = 'turn') = (conversation IS NOT NULL)),
    CHECK ((kind = 'fact') = (same IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX memory_one_fact ON memory (person, same) WHERE same IS NOT NULL;
CREATE INDEX memory_of_person ON memory (person, id);
CREATE INDEX memory_in_conversation ON memory (conversation, id) WHERE conversation IS NOT NULL;

-- The words index keeps no copy of the text (external content): half the writes, and one place less to forget in. The
-- triggers keep it in step with the rows.
CREATE VIRTUAL TABLE words USING fts5 (
    said, reply, content = 'memory', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);

CREATE TRIGGER memory_words_insert AFTER INSERT ON memory BEGIN
    INSERT INTO words (rowid, said, reply) VALUES (new.id, new.said, new.reply);
END;
CREATE TRIGGER memory_words_delete AFTER DELETE ON memory BEGIN
    INSERT INTO words (words, rowid, said, reply) VALUES ('delete', old.id, old.said, old.reply);
END;

-- Meaning: `sign` is one bit per dimension, small enough to scan whole (48 bytes at 384-d); `vector` is the same memory
-- in float16, read only for the nearest few. Both speak the one embedder named in setting 'embedder'.
CREATE TABLE sign (
    id INTEGER PRIMARY KEY REFERENCES memory (id) ON DELETE CASCADE,
    person INTEGER NOT NULL,
    bits BLOB NOT NULL
) STRICT;
CREATE TABLE vector (
    id INTEGER PRIMARY KEY REFERENCES memory (id) ON DELETE CASCADE,
    data BLOB NOT NULL
) STRICT;

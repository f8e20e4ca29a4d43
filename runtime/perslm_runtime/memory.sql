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

-- migration 2: what is shared or kept, pieces of documents, what is known (claims), what days and weeks held

CREATE TABLE document (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    person INTEGER NOT NULL REFERENCES person (id),
    source TEXT NOT NULL,  -- the file it was read from, or the name it was sent under
    title TEXT NOT NULL,
    digest BLOB NOT NULL,  -- of its bytes: a file that only looks changed is not learned again
    modified_ns INTEGER NOT NULL,
    learned_us INTEGER NOT NULL,
    UNIQUE (person, source)
) STRICT;

-- A CHECK cannot be changed, so the table is made anew with its rows and its counter of ids (foreign keys are off
-- while migrations run). `teller` is who told what belongs to everybody now; `kept` is what a person asked to keep.
CREATE TABLE memory_anew (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('turn', 'fact', 'chunk')),
    person INTEGER NOT NULL REFERENCES person (id),
    at_us INTEGER NOT NULL,
    conversation TEXT,
    said TEXT NOT NULL,
    reply TEXT NOT NULL,
    interrupted INTEGER NOT NULL DEFAULT 0,
    model TEXT NOT NULL DEFAULT '',
    source TEXT NOT NULL DEFAULT '',
    same BLOB,  -- digest of a fact's normalised text: one row per fact and person
    teller INTEGER REFERENCES person (id),
    kept INTEGER NOT NULL DEFAULT 0,
    document INTEGER REFERENCES document (id) ON DELETE CASCADE,
    CHECK ((kind = 'turn') = (conversation IS NOT NULL)),
    CHECK ((kind = 'fact') = (same IS NOT NULL)),
    CHECK ((kind = 'chunk') = (document IS NOT NULL))
) STRICT;
INSERT INTO memory_anew
    (id, uid, kind, person, at_us, conversation, said, reply, interrupted, model, source, same, kept)
SELECT id, uid, kind, person, at_us, conversation, said, reply, interrupted, model, source, same, kind = 'fact'
FROM memory;
DELETE FROM sqlite_sequence WHERE name = 'memory_anew';
INSERT INTO sqlite_sequence (name, seq) SELECT 'memory_anew', seq FROM sqlite_sequence WHERE name = 'memory';
DROP TABLE memory;
ALTER TABLE memory_anew RENAME TO memory;
CREATE UNIQUE INDEX memory_one_fact ON memory (person, same) WHERE same IS NOT NULL;
CREATE INDEX memory_of_person ON memory (person, id);
CREATE INDEX memory_in_conversation ON memory (conversation, id) WHERE conversation IS NOT NULL;
CREATE INDEX memory_of_document ON memory (document) WHERE document IS NOT NULL;
CREATE TRIGGER memory_words_insert AFTER INSERT ON memory BEGIN
    INSERT INTO words (rowid, said, reply) VALUES (new.id, new.said, new.reply);
END;
CREATE TRIGGER memory_words_delete AFTER DELETE ON memory BEGIN
    INSERT INTO words (words, rowid, said, reply) VALUES ('delete', old.id, old.said, old.reply);
END;

-- How often a memory helped, written together with the next turn.
CREATE TABLE used (
    id INTEGER PRIMARY KEY REFERENCES memory (id) ON DELETE CASCADE,
    times INTEGER NOT NULL,
    last_us INTEGER NOT NULL
) STRICT;

-- What is known: a graph of entities, of which one is the person, and claims between them or about them. A claim lives
-- as long as a memory that said it; it ends when another claim `ended_by` begins, and goes on if that is forgotten.
CREATE TABLE entity (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    person INTEGER NOT NULL REFERENCES person (id),
    is_self INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX entity_self ON entity (person) WHERE is_self;
CREATE TABLE claim (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    subject INTEGER NOT NULL REFERENCES entity (id) ON DELETE CASCADE,
    relation TEXT NOT NULL,
    object INTEGER REFERENCES entity (id) ON DELETE CASCADE,
    value TEXT,
    since_us INTEGER NOT NULL,
    ended_by INTEGER REFERENCES claim (id) ON DELETE SET NULL,
    confidence REAL NOT NULL,
    how TEXT NOT NULL CHECK (how IN ('rule', 'model')),
    CHECK ((object IS NULL) <> (value IS NULL))
) STRICT;
CREATE INDEX claim_of ON claim (subject, relation);
CREATE INDEX claim_about ON claim (object) WHERE object IS NOT NULL;
CREATE INDEX claim_ended ON claim (ended_by) WHERE ended_by IS NOT NULL;
CREATE TABLE claim_source (
    claim INTEGER NOT NULL REFERENCES claim (id) ON DELETE CASCADE,
    memory INTEGER NOT NULL REFERENCES memory (id) ON DELETE CASCADE,
    quote TEXT NOT NULL,
    PRIMARY KEY (claim, memory)
) STRICT, WITHOUT ROWID;
CREATE INDEX claim_source_of ON claim_source (memory);

-- What a day, week or month held, in the person's own sentences. Forgetting one of its memories deletes it.
CREATE TABLE summary (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    person INTEGER NOT NULL REFERENCES person (id),
    span TEXT NOT NULL CHECK (span IN ('day', 'week', 'month')),
    first TEXT NOT NULL,  -- its first day, local, as 2026-01-31
    text TEXT NOT NULL,
    UNIQUE (person, span, first)
) STRICT;
CREATE TABLE summary_source (
    summary INTEGER NOT NULL REFERENCES summary (id) ON DELETE CASCADE,
    memory INTEGER NOT NULL REFERENCES memory (id) ON DELETE CASCADE,
    PRIMARY KEY (summary, memory)
) STRICT, WITHOUT ROWID;
CREATE INDEX summary_source_of ON summary_source (memory);

-- migration 3: memories by their time

CREATE INDEX memory_at ON memory (person, at_us);

-- migration 4: examples that may go to the training host

-- What somebody lets go, redacted. It goes with the memories it was made of: what waits is deleted with them, and of what
-- was sent only its uid stays, for the host to be told that it is taken back. `person` is a name, no row: the last memory
-- of somebody may go before the host has been told.
CREATE TABLE example (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    person TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('corrections', 'failed', 'conversations')),
    at_us INTEGER NOT NULL,
    body TEXT NOT NULL,  -- JSON; '' once it is taken back
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'withdrawing', 'withdrawn')),
    changed_us INTEGER NOT NULL,
    receipt TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX example_in_state ON example (state, id);
CREATE TABLE example_source (
    example INTEGER NOT NULL REFERENCES example (id) ON DELETE CASCADE,
    memory INTEGER NOT NULL REFERENCES memory (id) ON DELETE CASCADE,
    PRIMARY KEY (example, memory)
) STRICT, WITHOUT ROWID;
CREATE INDEX example_source_of ON example_source (memory);
CREATE TRIGGER example_follows BEFORE DELETE ON memory BEGIN
    UPDATE example SET state = 'withdrawing', body = '', person = ''
    WHERE state = 'sent' AND id IN (SELECT example FROM example_source WHERE memory = old.id);
    DELETE FROM example
    WHERE state = 'waiting' AND id IN (SELECT example FROM example_source WHERE memory = old.id);
END;

-- A state of schema version 1, as `.dump` of sqlite3 wrote it. Never edited: every later version must open it.
PRAGMA application_id = 1196249940;
PRAGMA journal_mode = WAL;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES('instance_id','6e0b6a3c-5a53-4f0e-9a5c-3f5f0f9f2a11');
INSERT INTO meta VALUES('schema_version','1');
CREATE TABLE resources (
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    uid TEXT NOT NULL UNIQUE,
    generation INTEGER NOT NULL,
    version INTEGER NOT NULL,
    root TEXT NOT NULL,
    file TEXT NOT NULL, line INTEGER NOT NULL,
    created TEXT NOT NULL,
    deleting TEXT,
    labels TEXT NOT NULL, annotations TEXT NOT NULL, spec TEXT NOT NULL, status TEXT NOT NULL,
    suspend_override INTEGER,
    requested_at TEXT,
    PRIMARY KEY (kind, namespace, name));
INSERT INTO resources VALUES('Image','default','debian','0b0cbd53-6e0c-4ac5-8d0a-0a44f8c0d7a2',1,1,'/srv/manifests',
  '/srv/manifests/debian.yaml',1,'2026-01-01T00:00:00Z',NULL,'{}','{}','{"url":"http://images.example/debian.qcow2"}',
  '{"uuid":"b395386bdb4a4ff1b1850a457c949c5e"}',NULL,NULL);
CREATE TABLE requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    verb TEXT NOT NULL, token TEXT NOT NULL, at TEXT NOT NULL);

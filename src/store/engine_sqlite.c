/* The SQLite engine. The whole state is in memory already (the store reads everything once), so the file is
 * laid out for cheap writing: a row per object whose rowid is the revision that the object was created at.
 * Creates append, so a batch of them shares pages; updates and deletes find their row by number; no further
 * index is kept up. A checksum per row tells a damaged value from a good one.
 *
 *   object(created INTEGER PRIMARY KEY, key TEXT, revision INTEGER, value BLOB, checksum INTEGER)
 *   state(id INTEGER PRIMARY KEY CHECK (id = 0), revision INTEGER)    one row: the store's last revision
 *
 * The connection belongs to the opening thread until load is over, then to the engine's own thread. The two
 * share `job` under the lock; the answer comes back through a mailbox. The file is locked for as long as it is
 * open, so that no second process can write to it. */
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "base/mailbox.h"
#include "store/engine.h"

#define APPLICATION_ID 0x436f7261 /* "Cora" */
#define SCHEMA_VERSION 1
/* Pages of the write-ahead log that are enough to copy it into the file. */
#define CHECKPOINT_PAGES 1000

struct transaction {
    const struct engine_write *writes; /* NULL: none */
    size_t count;
    engine_done done;
    void *context;
    bool finished;
    struct error error; /* code 0: durable */
};

struct engine_sqlite {
    struct store_engine engine;
    char *path;
    sqlite3 *db;
    sqlite3_stmt *put, *remove, *set_revision;
    struct mailbox *mailbox;
    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct transaction job;
    bool stop;
};

static int sqlite_failed(struct engine_sqlite *engine, const char *action, struct error *err)
{
    int code = sqlite3_errcode(engine->db);
    return error_set(err, code == SQLITE_FULL ? ENOSPC : EIO, "%s %s: %s", action, engine->path,
                     sqlite3_errmsg(engine->db));
}

static uint64_t checksum(const char *key, uint64_t revision, const void *value, size_t size)
{
    return hash_fnv64a(key, strlen(key)) ^ hash_fnv64a(value, size) * 3 ^ revision;
}

/* Opening. */

/* The first column of the first row as a number. */
static int query_number(struct engine_sqlite *engine, const char *sql, int64_t *out, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(engine->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    if (code == SQLITE_ROW)
        return 0;
    if (code == SQLITE_BUSY)
        return error_set(err, EBUSY, "%s is in use by another process", engine->path);
    if (code == SQLITE_NOTADB)
        return error_set(err, EINVAL, "%s is not a Coracle store, or is damaged: it was left as it is", engine->path);
    return sqlite_failed(engine, "open", err);
}

static int execute(struct engine_sqlite *engine, const char *sql, struct error *err)
{
    return sqlite3_exec(engine->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sqlite_failed(engine, "open", err);
}

static int check_integrity(struct engine_sqlite *engine, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(engine->db, "PRAGMA quick_check(1)", -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    int result = 0;
    const char *text = code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (!text || strcmp(text, "ok") != 0)
        result = error_set(err, EINVAL, "%s is damaged (%s): it was left as it is; restore it from a backup",
                           engine->path, text ? text : sqlite3_errmsg(engine->db));
    sqlite3_finalize(statement);
    return result;
}

static int create_schema(struct engine_sqlite *engine, struct error *err)
{
    return execute(engine,
                   "BEGIN IMMEDIATE;"
                   "CREATE TABLE object(created INTEGER PRIMARY KEY, key TEXT NOT NULL, revision INTEGER NOT NULL,"
                   " value BLOB NOT NULL, checksum INTEGER NOT NULL);"
                   "CREATE TABLE state(id INTEGER PRIMARY KEY CHECK (id = 0), revision INTEGER NOT NULL);"
                   "INSERT INTO state VALUES (0, 0);"
                   "PRAGMA application_id = 0x436f7261;"
                   "PRAGMA user_version = 1;"
                   "COMMIT;",
                   err);
}

static int check_or_create(struct engine_sqlite *engine, struct error *err)
{
    _Static_assert(SCHEMA_VERSION == 1 && APPLICATION_ID == 0x436f7261, "create_schema writes these");
    int64_t application = 0, version = 0, tables = 0;
    if (query_number(engine, "PRAGMA application_id", &application, err) < 0 ||
        query_number(engine, "PRAGMA user_version", &version, err) < 0 ||
        query_number(engine, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
        return -1;
    bool fresh = application == 0 && version == 0 && tables == 0;
    if (!fresh && application != APPLICATION_ID)
        return error_set(err, EINVAL, "%s is a database of another program: it was left as it is", engine->path);
    if (!fresh && version > SCHEMA_VERSION)
        return error_set(err, EINVAL,
                         "%s was written by a newer version of Coracle (format %lld, this one reads up to %d): it was "
                         "left as it is; use the newer version, or another data directory",
                         engine->path, (long long)version, SCHEMA_VERSION);
    if (!fresh && version < 1)
        return error_set(err, EINVAL, "%s is damaged (no format version): it was left as it is", engine->path);
    if (!fresh && check_integrity(engine, err) < 0)
        return -1;
    if (execute(engine, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;", err) < 0)
        return -1;
    if (fresh && create_schema(engine, err) < 0)
        return -1;
    sqlite3_wal_autocheckpoint(engine->db, CHECKPOINT_PAGES);
    return 0;
}

static int prepare(struct engine_sqlite *engine, const char *sql, sqlite3_stmt **out, struct error *err)
{
    if (sqlite3_prepare_v3(engine->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) == SQLITE_OK)
        return 0;
    return sqlite_failed(engine, "open", err);
}

static int open_file(struct engine_sqlite *engine, struct error *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(engine->path, &engine->db, flags, NULL) != SQLITE_OK)
        return engine->db ? sqlite_failed(engine, "open", err) : error_set(err, ENOMEM, "open %s", engine->path);
    sqlite3_extended_result_codes(engine->db, 0);
    /* A refused file keeps its log too: closing must not copy it. */
    sqlite3_db_config(engine->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (execute(engine, "PRAGMA locking_mode=EXCLUSIVE;", err) < 0 || check_or_create(engine, err) < 0 ||
        prepare(engine, "INSERT OR REPLACE INTO object VALUES (?1, ?2, ?3, ?4, ?5)", &engine->put, err) < 0 ||
        prepare(engine, "DELETE FROM object WHERE created = ?1", &engine->remove, err) < 0 ||
        prepare(engine, "UPDATE state SET revision = ?1", &engine->set_revision, err) < 0)
        return -1;
    sqlite3_db_config(engine->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return 0;
}

static int load_row(struct engine_sqlite *engine, sqlite3_stmt *statement, engine_visit visit, void *context,
                    struct error *err)
{
    struct engine_record record = {
        .created = (uint64_t)sqlite3_column_int64(statement, 0),
        .key = (const char *)sqlite3_column_text(statement, 1),
        .revision = (uint64_t)sqlite3_column_int64(statement, 2),
        .json = sqlite3_column_blob(statement, 3),
        .size = (size_t)sqlite3_column_bytes(statement, 3),
    };
    uint64_t expected = (uint64_t)sqlite3_column_int64(statement, 4);
    if (!record.key || !record.json || checksum(record.key, record.revision, record.json, record.size) != expected)
        return error_set(err, EINVAL, "%s is damaged (row %llu does not match its checksum): it was left as it is; "
                         "restore it from a backup", engine->path, (unsigned long long)record.created);
    return visit(context, &record, err) < 0 ? error_wrap(err, "%s", engine->path) : 0;
}

static int sqlite_load(struct store_engine *base, engine_visit visit, void *context, uint64_t *revision,
                       struct error *err)
{
    struct engine_sqlite *engine = (struct engine_sqlite *)base;
    int64_t last = 0;
    if (query_number(engine, "SELECT revision FROM state", &last, err) < 0)
        return -1;
    *revision = (uint64_t)last;
    sqlite3_stmt *statement = NULL;
    if (prepare(engine, "SELECT created, key, revision, value, checksum FROM object", &statement, err) < 0)
        return -1;
    int code, result = 0;
    while (result == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW)
        result = load_row(engine, statement, visit, context, err);
    if (result == 0 && code != SQLITE_DONE)
        result = sqlite_failed(engine, "read", err);
    sqlite3_finalize(statement);
    return result;
}

/* The engine's thread. */

static int step(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code == SQLITE_DONE ? 0 : -1;
}

static int write_one(struct engine_sqlite *engine, const struct engine_write *write)
{
    if (!write->object) {
        sqlite3_bind_int64(engine->remove, 1, (int64_t)write->created);
        return step(engine->remove);
    }
    size_t size;
    const char *json = object_json(write->object, &size);
    sqlite3_bind_int64(engine->put, 1, (int64_t)write->created);
    sqlite3_bind_text(engine->put, 2, write->key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(engine->put, 3, (int64_t)write->revision);
    sqlite3_bind_blob64(engine->put, 4, json, size, SQLITE_STATIC);
    sqlite3_bind_int64(engine->put, 5, (int64_t)checksum(write->key, write->revision, json, size));
    return step(engine->put);
}

static int write_batch(struct engine_sqlite *engine, const struct engine_write *writes, size_t count,
                       struct error *err)
{
    int result = sqlite3_exec(engine->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK ? 0 : -1;
    for (size_t i = 0; i < count && result == 0; i++)
        result = write_one(engine, &writes[i]);
    if (result == 0) {
        sqlite3_bind_int64(engine->set_revision, 1, (int64_t)writes[count - 1].revision);
        result = step(engine->set_revision);
    }
    if (result == 0 && sqlite3_exec(engine->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        result = -1;
    if (result == 0)
        return 0;
    sqlite_failed(engine, "write to", err);
    if (!sqlite3_get_autocommit(engine->db))
        sqlite3_exec(engine->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

/* On the store's thread: answers the job that has finished, once. */
static void deliver(struct engine_sqlite *engine)
{
    pthread_mutex_lock(&engine->lock);
    struct transaction job = engine->job;
    if (job.finished)
        engine->job.writes = NULL, engine->job.finished = false;
    pthread_mutex_unlock(&engine->lock);
    if (job.finished)
        job.done(job.context, job.error.code ? &job.error : NULL);
}

static void finished(void *context)
{
    deliver(context);
}

static void *run(void *context)
{
    struct engine_sqlite *engine = context;
    pthread_mutex_lock(&engine->lock);
    for (;;) {
        while (!engine->stop && (!engine->job.writes || engine->job.finished))
            pthread_cond_wait(&engine->changed, &engine->lock);
        if (engine->stop)
            break;
        struct transaction job = engine->job;
        pthread_mutex_unlock(&engine->lock);
        job.error.code = 0;
        write_batch(engine, job.writes, job.count, &job.error);
        pthread_mutex_lock(&engine->lock);
        engine->job.error = job.error;
        engine->job.finished = true;
        pthread_cond_broadcast(&engine->changed);
        mailbox_send(engine->mailbox, finished, engine);
    }
    pthread_mutex_unlock(&engine->lock);
    return NULL;
}

static void sqlite_commit(struct store_engine *base, const struct engine_write *writes, size_t count,
                          engine_done done, void *context)
{
    struct engine_sqlite *engine = (struct engine_sqlite *)base;
    pthread_mutex_lock(&engine->lock);
    engine->job = (struct transaction){.writes = writes, .count = count, .done = done, .context = context};
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

static void sqlite_wait(struct store_engine *base)
{
    struct engine_sqlite *engine = (struct engine_sqlite *)base;
    pthread_mutex_lock(&engine->lock);
    while (engine->job.writes && !engine->job.finished)
        pthread_cond_wait(&engine->changed, &engine->lock);
    pthread_mutex_unlock(&engine->lock);
    deliver(engine);
}

static void sqlite_free(struct store_engine *base)
{
    struct engine_sqlite *engine = (struct engine_sqlite *)base;
    pthread_mutex_lock(&engine->lock);
    engine->stop = true;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
    if (engine->thread_runs)
        pthread_join(engine->thread, NULL);
    if (engine->mailbox)
        mailbox_free(engine->mailbox);
    sqlite3_finalize(engine->put);
    sqlite3_finalize(engine->remove);
    sqlite3_finalize(engine->set_revision);
    sqlite3_close(engine->db);
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->lock);
    free(engine->path);
    free(engine);
}

static const struct store_engine_operations operations = {
    .load = sqlite_load,
    .commit = sqlite_commit,
    .wait = sqlite_wait,
    .free = sqlite_free,
};

struct store_engine *engine_sqlite_new(struct env *env, const char *path, struct error *err)
{
    struct engine_sqlite *engine = mem_zero(1, sizeof(*engine));
    engine->engine.operations = &operations;
    engine->path = mem_string(path);
    pthread_mutex_init(&engine->lock, NULL);
    pthread_cond_init(&engine->changed, NULL);
    if (open_file(engine, err) < 0) {
        sqlite_free(&engine->engine);
        return NULL;
    }
    engine->mailbox = mailbox_new(env_uv_loop(env));
    int code = pthread_create(&engine->thread, NULL, run, engine);
    if (code) {
        error_set(err, code, "start the store's thread: %s", strerror(code));
        sqlite_free(&engine->engine);
        return NULL;
    }
    engine->thread_runs = true;
    return &engine->engine;
}

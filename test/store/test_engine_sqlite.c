/* The promises of the SQLite engine: what was acknowledged is there after any end of the process, a full disk
 * fails writes and nothing else, and a file that cannot be trusted is refused and left as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/map.h"
#include "store/engine.h"
#include "store/store.h"

#define MAPS (&api_resources[API_CONFIGMAPS])
#define WRITERS 32

struct world {
    uv_loop_t loop;
    struct env *env;
    struct store *store;
};

static char folder[64], path[96];

static struct world *world_open(const char *file, struct error *err)
{
    struct world *w = mem_zero(1, sizeof(*w));
    uv_loop_init(&w->loop);
    w->env = env_uv_new(&w->loop);
    struct store_engine *engine = engine_sqlite_new(w->env, file, err);
    if (engine)
        w->store = store_new(w->env, engine);
    if (engine && store_open(w->store, err) < 0) {
        store_free(w->store);
        w->store = NULL;
    }
    return w;
}

static void world_close(struct world *w)
{
    store_free(w->store);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    env_uv_free(w->env);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
}

static void fresh_file(void)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[128];
    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

struct answer {
    bool done;
    enum store_outcome outcome;
    uint64_t revision;
    char error[256];
};

static void answered(void *context, enum store_outcome outcome, struct object *object, const struct error *err)
{
    struct answer *answer = context;
    answer->done = true;
    answer->outcome = outcome;
    answer->revision = object ? object->revision : 0;
    if (err)
        snprintf(answer->error, sizeof(answer->error), "%.255s", err->text);
}

static enum store_outcome put(struct world *w, const char *name, size_t padding, uint64_t expected, store_done done,
                              void *context)
{
    struct arena *arena = arena_new(0);
    struct config_map *map = arena_alloc(arena, sizeof(*map));
    map->kind = "ConfigMap";
    map->api_version = "v1";
    map->metadata.namespace = "n";
    map->metadata.name = arena_string(arena, name);
    char *text = arena_alloc(arena, padding + 1);
    memset(text, 'x', padding);
    map->data.items = arena_alloc(arena, sizeof(struct string_pair));
    map->data.items[0] = (struct string_pair){"padding", text};
    map->data.count = 1;
    return store_put(w->store, MAPS, arena, map, expected, done, context);
}

static struct answer put_and_wait(struct world *w, const char *name, size_t padding, uint64_t expected)
{
    struct answer answer = {0};
    assert_int_equal(put(w, name, padding, expected, answered, &answer), STORE_OK);
    while (!answer.done)
        uv_run(&w->loop, UV_RUN_ONCE);
    return answer;
}

static void what_was_written_is_there_after_reopening_and_revisions_go_on(void **state)
{
    fresh_file();
    struct world *w = world_open(path, NULL);
    uint64_t a = put_and_wait(w, "a", 10, 0).revision, b = put_and_wait(w, "b", 9000, 0).revision;
    a = put_and_wait(w, "a", 20000, a).revision;
    struct answer gone = {0};
    assert_int_equal(store_delete(w->store, MAPS, "n", "b", b, answered, &gone), STORE_OK);
    while (!gone.done)
        uv_run(&w->loop, UV_RUN_ONCE);
    world_close(w);

    w = world_open(path, NULL);
    assert_non_null(w->store);
    assert_int_equal(store_revision(w->store), gone.revision);
    assert_int_equal(store_count(w->store, MAPS), 1);
    struct object *object = store_get(w->store, MAPS, "n", "a");
    assert_int_equal(object->revision, a);
    assert_int_equal(strlen(((const struct config_map *)object->value)->data.items[0].value), 20000);
    assert_int_equal(put_and_wait(w, "b", 10, 0).revision, gone.revision + 1);
    world_close(w);
}

static void pending_writes_are_made_durable_before_the_store_closes(void **state)
{
    fresh_file();
    struct world *w = world_open(path, NULL);
    struct answer answers[200] = {0};
    char name[16];
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "a%d", i);
        put(w, name, 10, 0, answered, &answers[i]);
    }
    world_close(w);
    for (int i = 0; i < 200; i++)
        assert_true(answers[i].done && answers[i].outcome == STORE_OK);
    w = world_open(path, NULL);
    assert_int_equal(store_count(w->store, MAPS), 200);
    world_close(w);
}

/* The process that is going to be killed: WRITERS objects that are each created, changed and deleted over and
 * over; every answer is reported as "writer step revision". */

struct writer {
    struct world *world;
    int report;
    int id;
    long step;
};

static void write_next(struct writer *writer, uint64_t head);

static void step_done(void *context, enum store_outcome outcome, struct object *object, const struct error *err)
{
    struct writer *writer = context;
    long line[2] = {writer->id, writer->step};
    if (outcome != STORE_OK || write(writer->report, line, sizeof(line)) != sizeof(line))
        _exit(3);
    writer->step++;
    write_next(writer, object->revision);
}

/* Steps go round: create, change, change, delete. What there is says which steps were done. */
static void write_next(struct writer *writer, uint64_t head)
{
    char name[16];
    snprintf(name, sizeof(name), "w%d", writer->id);
    enum store_outcome outcome;
    if (writer->step % 4 == 3)
        outcome = store_delete(writer->world->store, MAPS, "n", name, head, step_done, writer);
    else
        outcome = put(writer->world, name, (size_t)writer->step, writer->step % 4 ? head : 0, step_done, writer);
    if (outcome != STORE_OK)
        _exit(4);
}

/* The steps that the store's content shows, for the writer to go on from. */
static long padding_of(struct world *w, int id, uint64_t *revision)
{
    char name[16];
    snprintf(name, sizeof(name), "w%d", id);
    struct object *object = store_get(w->store, MAPS, "n", name);
    if (!object)
        return -1;
    *revision = object->revision;
    return (long)strlen(((const struct config_map *)object->value)->data.items[0].value);
}

static void victim(int report, const long *steps)
{
    struct error err;
    struct world *w = world_open(path, &err);
    if (!w->store)
        _exit(2);
    struct writer writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        uint64_t head = 0;
        padding_of(w, i, &head);
        writers[i] = (struct writer){w, report, i, steps[i]};
        write_next(&writers[i], head);
    }
    uv_run(&w->loop, UV_RUN_DEFAULT);
    _exit(5);
}

/* Kills a writing process after some answers, and checks that the store shows each writer's last answered step,
 * or the one that was under way. steps[i] is the next step of writer i. */
static void crash_once(long steps[WRITERS], long answers)
{
    int report[2];
    assert_int_equal(pipe(report), 0);
    pid_t pid = fork();
    if (!pid) {
        close(report[0]);
        victim(report[1], steps);
    }
    close(report[1]);
    long line[2];
    while (read(report[0], line, sizeof(line)) == sizeof(line)) {
        steps[line[0]] = line[1] + 1;
        if (--answers == 0)
            kill(pid, SIGKILL);
    }
    close(report[0]);
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

    struct error err = {0};
    struct world *w = world_open(path, &err);
    if (!w->store)
        fail_msg("%s", err.text);
    for (int i = 0; i < WRITERS; i++) {
        uint64_t revision;
        long shown = padding_of(w, i, &revision), done = steps[i] - 1;
        /* After step s: an object with padding s, or none when s was a delete. */
        bool last = done % 4 == 3 || done < 0 ? shown == -1 : shown == done;
        bool under_way = steps[i] % 4 == 3 ? shown == -1 : shown == steps[i];
        if (!last && !under_way)
            fail_msg("writer %d: step %ld was answered, the store shows %ld", i, done, shown);
        if (!last)
            steps[i]++;
    }
    world_close(w);
}

static void crash_rounds(int rounds)
{
    fresh_file();
    long steps[WRITERS] = {0};
    unsigned seed = 7;
    for (int i = 0; i < rounds; i++)
        crash_once(steps, 1 + rand_r(&seed) % 900);
}

static void every_acknowledged_write_survives_a_kill_at_any_instant(void **state)
{
    crash_rounds(12);
}

/* A full disk, made by what `limit` and `unlimit` do. */
static void writes_fail_and_the_store_goes_on(const char *file, void (*limit)(void), void (*unlimit)(void))
{
    struct error err = {0};
    struct world *w = world_open(file, &err);
    if (!w->store)
        fail_msg("%s", err.text);
    uint64_t kept = put_and_wait(w, "kept", 10, 0).revision;
    limit();
    char name[24];
    int failed = 0;
    for (int i = 0; i < 200 && failed < 3; i++) {
        snprintf(name, sizeof(name), "a%d", i);
        struct answer answer = put_and_wait(w, name, 50000, 0);
        if (answer.outcome == STORE_OK)
            continue;
        assert_int_equal(answer.outcome, STORE_FAILED);
        assert_true(strlen(answer.error) > 0);
        assert_null(store_get(w->store, MAPS, "n", name));
        assert_null(store_head(w->store, MAPS, "n", name));
        failed++;
    }
    assert_int_equal(failed, 3);
    assert_non_null(store_get(w->store, MAPS, "n", "kept"));
    unlimit();
    struct answer again = put_and_wait(w, "kept", 20, kept);
    if (again.outcome != STORE_OK)
        fail_msg("%s", again.error);
    assert_int_equal(put_and_wait(w, "more", 50000, 0).outcome, STORE_OK);
    size_t count = store_count(w->store, MAPS);
    uint64_t revision = store_revision(w->store);
    world_close(w);
    w = world_open(file, &err);
    assert_non_null(w->store);
    assert_int_equal(store_count(w->store, MAPS), count);
    assert_int_equal(store_revision(w->store), revision);
    world_close(w);
}

static void limit_files(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = 1000000;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void unlimit_files(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void a_write_that_the_disk_refuses_fails_and_the_next_ones_go_on(void **state)
{
    fresh_file();
    signal(SIGXFSZ, SIG_IGN);
    writes_fail_and_the_store_goes_on(path, limit_files, unlimit_files);
}

static char ballast[96];

static void nothing(void)
{
}

static void drop_ballast(void)
{
    unlink(ballast);
}

/* Runs as a process of its own, in a mount namespace of its own; skipped where that is not permitted. */
static void a_full_disk_fails_writes_and_nothing_else(void **state)
{
    char disk[96], file[128];
    snprintf(disk, sizeof(disk), "%s/disk", folder);
    snprintf(file, sizeof(file), "%s/store", disk);
    snprintf(ballast, sizeof(ballast), "%.80s/ballast", disk);
    mkdir(disk, 0700);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", disk, "tmpfs", 0, "size=2m") < 0)
        skip();
    int fd = open(ballast, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(posix_fallocate(fd, 0, 1 << 20), 0);
    close(fd);
    writes_fail_and_the_store_goes_on(file, nothing, drop_ballast);
    umount(disk);
}

/* Files that are refused. */

static void fill(int objects)
{
    fresh_file();
    struct world *w = world_open(path, NULL);
    char name[16];
    for (int i = 0; i < objects; i++) {
        snprintf(name, sizeof(name), "a%d", i);
        put(w, name, 1000, 0, NULL, NULL);
    }
    world_close(w);
}

static void change(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Opening fails with a text that has `part`, and changes nothing in the file. */
static void assert_refused(const char *part)
{
    cleanup_buffer struct buffer before = {0}, after = {0};
    struct error err = {0};
    assert_int_equal(file_read(path, 100 << 20, &before, NULL), 0);
    struct world *w = world_open(path, &err);
    assert_null(w->store);
    world_close(w);
    assert_int_equal(file_read(path, 100 << 20, &after, NULL), 0);
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, before.size);
    if (!strstr(err.text, part) || !strstr(err.text, path))
        fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

static void a_file_of_a_newer_version_is_refused(void **state)
{
    fill(3);
    change("PRAGMA user_version = 2");
    assert_refused("newer version of Coracle (format 2, this one reads up to 1)");
}

static void a_database_of_another_program_is_refused(void **state)
{
    fresh_file();
    change("CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    assert_refused("database of another program");
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    fresh_file();
    struct error err;
    assert_int_equal(file_write_atomic(path, "not a database, but long enough to look at", 42, 0600, &err), 0);
    assert_refused("not a Coracle store");
}

static void damage_is_found_wherever_it_is(void **state)
{
    /* A few bytes in every page, one page at a time: the file opens with all its content, or is refused. */
    fill(60);
    cleanup_buffer struct buffer good = {0};
    assert_int_equal(file_read(path, 100 << 20, &good, NULL), 0);
    int refused = 0;
    for (size_t at = 600; at + 64 < good.size; at += 4096) {
        fresh_file();
        cleanup_free char *bad = mem_alloc(good.size);
        memcpy(bad, good.data, good.size);
        for (int i = 0; i < 64; i++)
            bad[at + (size_t)i] ^= 0x55;
        assert_int_equal(file_write_atomic(path, bad, good.size, 0600, NULL), 0);
        struct error err = {0};
        struct world *w = world_open(path, &err);
        if (w->store)
            assert_int_equal(store_count(w->store, MAPS), 60);
        else
            assert_non_null(strstr(err.text, path));
        refused += !w->store;
        world_close(w);
    }
    assert_true(refused > 10);
}

static void a_row_that_does_not_match_its_checksum_is_refused(void **state)
{
    fill(3);
    change("UPDATE object SET value = replace(value, 'xxx', 'xyx')");
    assert_refused("does not match its checksum");
}

/* With a checksum that fits. */
static void replace_value(int row, const char *key, int revision, const char *json)
{
    char sql[512];
    uint64_t sum = hash_fnv64a(key, strlen(key)) ^ hash_fnv64a(json, strlen(json)) * 3 ^ (uint64_t)revision;
    snprintf(sql, sizeof(sql), "UPDATE object SET value = CAST('%s' AS BLOB), checksum = %lld WHERE created = %d", json,
             (long long)sum, row);
    change(sql);
}

static void a_row_that_cannot_be_read_is_named(void **state)
{
    fresh_file();
    struct world *w = world_open(path, NULL);
    struct answer answer = put_and_wait(w, "a", 10, 0);
    world_close(w);
    replace_value((int)answer.revision, "/registry/configmaps/n/a", (int)answer.revision,
                  "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\","
                  "\"deletionTimestamp\":\"010000-01-01T00:00:00Z\"}}");
    assert_refused("key /registry/configmaps/n/a: parsing time \"010000-01-01T00:00:00Z\"");
}

static void a_revision_that_went_back_is_refused(void **state)
{
    fill(3);
    change("UPDATE state SET revision = 2");
    struct error err = {0};
    struct world *w = world_open(path, &err);
    assert_null(w->store);
    assert_non_null(strstr(err.text, "beyond the store's last one"));
    world_close(w);
}

static void a_file_is_open_in_one_process_only(void **state)
{
    fresh_file();
    struct world *first = world_open(path, NULL);
    struct error err = {0};
    struct world *second = world_open(path, &err);
    assert_null(second->store);
    assert_non_null(strstr(err.text, "in use by another process"));
    world_close(second);
    assert_int_equal(put_and_wait(first, "a", 10, 0).outcome, STORE_OK);
    world_close(first);
}

static void a_folder_that_is_not_there_is_said_so(void **state)
{
    struct error err = {0};
    struct world *w = world_open("/nonexistent/store", &err);
    assert_null(w->store);
    assert_non_null(strstr(err.text, "/nonexistent/store"));
    world_close(w);
}

static int make_folder(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/test_engine_sqlite.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%.60s/store", folder);
    return 0;
}

static int remove_folder(void **state)
{
    return file_remove_tree(folder, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_there_after_reopening_and_revisions_go_on),
        cmocka_unit_test(pending_writes_are_made_durable_before_the_store_closes),
        cmocka_unit_test(every_acknowledged_write_survives_a_kill_at_any_instant),
        cmocka_unit_test(a_write_that_the_disk_refuses_fails_and_the_next_ones_go_on),
        cmocka_unit_test(a_file_of_a_newer_version_is_refused),
        cmocka_unit_test(a_database_of_another_program_is_refused),
        cmocka_unit_test(a_file_that_is_no_database_is_refused),
        cmocka_unit_test(damage_is_found_wherever_it_is),
        cmocka_unit_test(a_row_that_does_not_match_its_checksum_is_refused),
        cmocka_unit_test(a_row_that_cannot_be_read_is_named),
        cmocka_unit_test(a_revision_that_went_back_is_refused),
        cmocka_unit_test(a_file_is_open_in_one_process_only),
        cmocka_unit_test(a_folder_that_is_not_there_is_said_so),
    };
    const struct CMUnitTest disk[] = {
        cmocka_unit_test(a_full_disk_fails_writes_and_nothing_else),
    };
    if (argc > 1 && strcmp(argv[1], "disk") == 0)
        return cmocka_run_group_tests(disk, make_folder, remove_folder);
    /* With a number: that many rounds of the crash test, and nothing else. */
    if (argc > 1) {
        make_folder(NULL);
        crash_rounds(atoi(argv[1]));
        remove_folder(NULL);
        return 0;
    }
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

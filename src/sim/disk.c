/* Records by key, holding the snapshots themselves; JSON is made when a store opens them again. */
#include "sim/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/object.h"
#include "base/cleanup.h"
#include "base/tree.h"

struct record {
    struct tree_node node;
    struct object *object;
    uint64_t revision, created;
    char key[];
};

struct engine {
    struct store_engine engine;
    struct sim_disk *disk;
    struct env_timer *timer;
    const struct engine_write *writes; /* the batch under way; NULL: none */
    size_t count;
    engine_done done;
    void *context;
    bool crashed;
};

struct sim_disk {
    struct env *env;
    struct sim_random random;
    struct sim_disk_options options;
    struct tree records;
    uint64_t revision;
    struct engine *engine; /* NULL: none */
};

static void record_free(struct sim_disk *disk, struct record *record)
{
    tree_remove(&disk->records, &record->node);
    object_unref(record->object);
    free(record);
}

static void apply(struct sim_disk *disk, const struct engine_write *write)
{
    struct tree_node *node = tree_find(&disk->records, write->key);
    struct record *record = node ? tree_entry(node, struct record, node) : NULL;
    disk->revision = write->revision;
    if (!write->object) {
        if (record)
            record_free(disk, record);
        return;
    }
    if (!record) {
        size_t size = strlen(write->key) + 1;
        record = mem_zero(1, sizeof(*record) + size);
        memcpy(record->key, write->key, size);
        record->node.key = record->key;
        tree_insert(&disk->records, &record->node);
    }
    object_unref(record->object);
    record->object = object_ref(write->object);
    record->revision = write->revision;
    record->created = write->created;
}

static void apply_batch(struct engine *engine)
{
    for (size_t i = 0; i < engine->count; i++)
        apply(engine->disk, &engine->writes[i]);
}

static void finish(struct engine *engine, bool failed)
{
    engine_done done = engine->done;
    struct error err = {0};
    if (failed)
        error_set(&err, ENOSPC, "database or disk is full");
    else if (!engine->disk->options.forgotten ||
             !sim_random_chance(&engine->disk->random, engine->disk->options.forgotten))
        apply_batch(engine);
    engine->writes = NULL;
    done(engine->context, failed ? &err : NULL);
}

static void written(void *context)
{
    struct engine *engine = context;
    finish(engine, sim_random_chance(&engine->disk->random, engine->disk->options.failing));
}

static int load(struct store_engine *base, engine_visit visit, void *context, uint64_t *revision, struct error *err)
{
    struct sim_disk *disk = ((struct engine *)base)->disk;
    for (struct tree_node *node = tree_first(&disk->records); node; node = node->next) {
        struct record *record = tree_entry(node, struct record, node);
        struct engine_record out = {.key = record->key, .revision = record->revision, .created = record->created};
        out.json = object_json(record->object, &out.size);
        if (visit(context, &out, err) < 0)
            return -1;
    }
    *revision = disk->revision;
    return 0;
}

static void commit(struct store_engine *base, const struct engine_write *writes, size_t count, engine_done done,
                   void *context)
{
    struct engine *engine = (struct engine *)base;
    struct sim_disk *disk = engine->disk;
    engine->writes = writes;
    engine->count = count;
    engine->done = done;
    engine->context = context;
    env_timer_start(engine->timer,
                    sim_random_between(&disk->random, disk->options.delay_min, disk->options.delay_max));
}

static void wait_for_it(struct store_engine *base)
{
    struct engine *engine = (struct engine *)base;
    if (!engine->writes)
        return;
    env_timer_stop(engine->timer);
    finish(engine, engine->crashed);
}

static void free_engine(struct store_engine *base)
{
    struct engine *engine = (struct engine *)base;
    env_timer_free(engine->timer);
    engine->disk->engine = NULL;
    free(engine);
}

static const struct store_engine_operations operations = {
    .load = load,
    .commit = commit,
    .wait = wait_for_it,
    .free = free_engine,
};

struct sim_disk *sim_disk_new(struct env *env, struct sim_random random, const struct sim_disk_options *options)
{
    struct sim_disk *disk = mem_zero(1, sizeof(*disk));
    disk->env = env;
    disk->random = random;
    disk->options = *options;
    return disk;
}

void sim_disk_free(struct sim_disk *disk)
{
    while (disk->records.count)
        record_free(disk, tree_entry(tree_first(&disk->records), struct record, node));
    free(disk);
}

struct sim_disk_options *sim_disk_options(struct sim_disk *disk)
{
    return &disk->options;
}

struct store_engine *sim_disk_engine(struct sim_disk *disk)
{
    struct engine *engine = mem_zero(1, sizeof(*engine));
    engine->engine.operations = &operations;
    engine->disk = disk;
    engine->timer = env_timer_new(disk->env, written, engine);
    disk->engine = engine;
    return &engine->engine;
}

void sim_disk_crash(struct sim_disk *disk)
{
    struct engine *engine = disk->engine;
    /* The last batch may have reached the disk without anybody being told. */
    if (engine->writes && sim_random_chance(&disk->random, 500))
        apply_batch(engine);
    engine->crashed = true;
}

/* The promises when writes cannot be made durable: the client is told, nothing of it stays, and what it took is
 * free again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "fake_env.h"
#include "registry/private.h"
#include "store/engine.h"

/* Commits in the next turn; fails while the disk is full. */
struct disk {
    struct store_engine engine;
    struct env *env;
    bool full, stuck;
    engine_done done;
    void *context;
};

static int load(struct store_engine *engine, engine_visit visit, void *context, uint64_t *revision, struct error *err)
{
    *revision = 0;
    return 0;
}

static void finish(struct store_engine *base)
{
    struct disk *disk = (struct disk *)base;
    engine_done done = steal_pointer(disk->done);
    struct error err = {ENOSPC, "write to store: database or disk is full"};
    if (done)
        done(disk->context, disk->full ? &err : NULL);
}

static void turn(void *context)
{
    struct disk *disk = context;
    if (!disk->stuck)
        finish(&disk->engine);
}

static void commit(struct store_engine *base, const struct engine_write *writes, size_t count, engine_done done,
                   void *context)
{
    struct disk *disk = (struct disk *)base;
    disk->done = done;
    disk->context = context;
    env_defer(disk->env, turn, disk);
}

static void release(struct store_engine *base)
{
}

static const struct store_engine_operations operations = {load, commit, finish, release};

static struct disk disk;
static struct store *store;
static struct registry *registry;
static struct client *client;

static int set_up(void **state)
{
    disk = (struct disk){.engine = {&operations}, .env = fake_env_new(1000000)};
    store = store_new(disk.env, &disk.engine);
    registry = registry_new(disk.env, store, &(struct registry_options){"10.96.0.0/16", "fd00:10:96::/112", 30000, 32767});
    client = registry_client(registry, NULL);
    registry_bootstrap(registry, &(struct registry_bootstrap){.address = "192.0.2.1", .api_port = 6443}, NULL, NULL);
    fake_env_settle(disk.env);
    return 0;
}

static int tear_down(void **state)
{
    if (client)
        registry_client_free(client);
    registry_free(registry);
    store_free(store);
    fake_env_free(disk.env);
    return 0;
}

struct answer {
    int code, calls, retry_after;
    char text[256];
};

static void answered(void *context, const struct client_result *result)
{
    struct answer *answer = context;
    answer->code = result->code;
    answer->calls++;
    answer->retry_after = result->status && result->status->details ? result->status->details->retry_after_seconds : 0;
    if (result->status && result->status->message)
        snprintf(answer->text, sizeof(answer->text), "%s", result->status->message);
}

static struct answer answers[4];

static void create_service(struct answer *answer, const char *name, const char *ip)
{
    struct service_port port = {.port = 80, .node_port = 30500};
    struct service service = {.metadata.name = name,
                              .spec = {.type = "NodePort", .cluster_ip = ip, .ports = {&port, 1}}};
    *answer = (struct answer){0};
    client_create(client, &api_resources[API_SERVICES], "default", NULL, &service, answered, answer);
}

static void create_map(struct answer *answer, const char *name)
{
    struct config_map map = {.metadata.name = name};
    *answer = (struct answer){0};
    client_create(client, &api_resources[API_CONFIGMAPS], "default", NULL, &map, answered, answer);
}

static void a_write_that_fails_is_answered_and_leaves_nothing(void **state)
{
    disk.full = true;
    create_map(&answers[0], "a");
    fake_env_settle(disk.env);
    assert_int_equal(answers[0].code, 500);
    assert_string_equal(answers[0].text,
                        "Internal error occurred: write to store: database or disk is full");
    client_get(client, &api_resources[API_CONFIGMAPS], "default", "a", answered, &answers[1]);
    fake_env_settle(disk.env);
    assert_int_equal(answers[1].code, 404);
    disk.full = false;
    create_map(&answers[0], "a");
    fake_env_settle(disk.env);
    assert_int_equal(answers[0].code, 201);
}

static void a_service_that_failed_holds_no_address(void **state)
{
    disk.full = true;
    create_service(&answers[0], "a", "10.96.7.7");
    fake_env_settle(disk.env);
    assert_int_equal(answers[0].code, 500);
    disk.full = false;
    create_service(&answers[0], "b", "10.96.7.7");
    fake_env_settle(disk.env);
    assert_int_equal(answers[0].code, 201);
    create_service(&answers[0], "c", "10.96.7.7");
    fake_env_settle(disk.env);
    assert_int_equal(answers[0].code, 422);
}

static void an_address_is_taken_before_it_is_durable_and_free_after_its_end_is(void **state)
{
    disk.stuck = true;
    create_service(&answers[0], "a", "10.96.7.7");
    create_service(&answers[1], "b", "10.96.7.7");
    fake_env_settle(disk.env);
    assert_int_equal(answers[0].calls, 0);
    assert_int_equal(answers[1].code, 422);
    finish(&disk.engine);
    fake_env_settle(disk.env);
    assert_int_equal(answers[0].code, 201);
    /* The delete is on its way: not free yet, for it might fail. */
    client_delete(client, &api_resources[API_SERVICES], "default", "a", NULL, -1, NULL, answered, &answers[2]);
    fake_env_settle(disk.env);
    create_service(&answers[1], "b", "10.96.7.7");
    fake_env_settle(disk.env);
    assert_int_equal(answers[1].code, 422);
    finish(&disk.engine);
    disk.stuck = false;
    create_service(&answers[1], "b", "10.96.7.7");
    fake_env_settle(disk.env);
    assert_int_equal(answers[1].code, 201);
}

static void an_answer_comes_after_durability(void **state)
{
    disk.stuck = true;
    create_map(&answers[0], "a");
    create_map(&answers[1], "a");
    fake_env_settle(disk.env);
    assert_int_equal(answers[0].calls, 0);
    assert_int_equal(answers[1].code, 409);
    client_get(client, &api_resources[API_CONFIGMAPS], "default", "a", answered, &answers[2]);
    fake_env_settle(disk.env);
    assert_int_equal(answers[2].code, 404);
    finish(&disk.engine);
    assert_int_equal(answers[0].code, 201);
    disk.stuck = false;
}

static void what_does_not_fit_in_the_queue_is_told_when_to_come_back(void **state)
{
    for (int i = 0; i < 4; i++)
        answers[i] = (struct answer){0};
    for (int i = 0; i < REGISTRY_QUEUE_MAX - 1; i++)
        client_get(client, &api_resources[API_CONFIGMAPS], "default", "a", answered, &answers[0]);
    client_get(client, &api_resources[API_CONFIGMAPS], "default", "a", answered, &answers[1]);
    client_get(client, &api_resources[API_CONFIGMAPS], "default", "a", answered, &answers[2]);
    fake_env_settle(disk.env);
    assert_int_equal(answers[0].calls, REGISTRY_QUEUE_MAX - 1);
    assert_int_equal(answers[1].code, 404);
    assert_int_equal(answers[1].retry_after, 0);
    assert_int_equal(answers[2].code, 429);
    assert_int_equal(answers[2].retry_after, REGISTRY_RETRY_SECONDS);
    client_get(client, &api_resources[API_CONFIGMAPS], "default", "a", answered, &answers[3]);
    fake_env_settle(disk.env);
    assert_int_equal(answers[3].code, 404);
}

static void requests_under_way_are_dropped_when_the_registry_goes(void **state)
{
    disk.stuck = true;
    create_map(&answers[0], "a");
    fake_env_settle(disk.env);
    create_map(&answers[1], "b");
    struct client_request *r = client_request_new(CLIENT_DELETE_COLLECTION, &api_resources[API_SERVICES], "default", NULL);
    answers[2] = (struct answer){0};
    client_submit(client, r, answered, &answers[2]);
    fake_env_settle(disk.env);
    create_map(&answers[3], "c");
    registry_client_free(client);
    client = NULL;
    registry_free(registry);
    registry = NULL;
    disk.stuck = false;
    store_free(store);
    store = NULL;
    fake_env_settle(disk.env);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(answers[i].calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_write_that_fails_is_answered_and_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_service_that_failed_holds_no_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_address_is_taken_before_it_is_durable_and_free_after_its_end_is, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_answer_comes_after_durability, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_fit_in_the_queue_is_told_when_to_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests_under_way_are_dropped_when_the_registry_goes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

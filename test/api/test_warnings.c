/* The promise of warnings: a field that does nothing yet is never taken in silence, and nothing else is
 * mentioned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/types.h"
#include "api/warnings.h"
#include "prepare.h"

static const char *first_word_of(const char *text)
{
    return strstr(text, ": stored, but without effect: ");
}

static void inert_fields_that_are_set_are_named(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct api_resource *r = &api_resources[API_DEPLOYMENTS];
    struct api_warnings warnings = {.arena = arena};
    void *value = decode(arena, r,
                         "{'spec':{'template':{'spec':{'hostUsers':false,'workloadRef':{'name':'w'},"
                         "'dnsPolicy':'ClusterFirst','containers':[{'name':'a'},{'name':'b','securityContext':"
                         "{'runAsUser':0,'windowsOptions':{}}}],'volumes':[{'name':'v','flocker':{}}]}}}}");
    api_warn_inert(r->type, value, NULL, &warnings);
    static const char *const fields[] = {
        "spec.template.spec.containers[1].securityContext.windowsOptions",
        "spec.template.spec.hostUsers",
        "spec.template.spec.volumes[0].flocker",
        "spec.template.spec.workloadRef",
    };
    assert_int_equal(warnings.count, sizeof(fields) / sizeof(fields[0]));
    for (size_t i = 0; i < warnings.count; i++) {
        assert_non_null(first_word_of(warnings.items[i]));
        assert_int_equal(first_word_of(warnings.items[i]) - warnings.items[i], strlen(fields[i]));
        assert_memory_equal(warnings.items[i], fields[i], strlen(fields[i]));
    }
    struct api_warnings again = {.arena = arena};
    api_warn_inert(r->type, value, value, &again);
    assert_int_equal(again.count, 0);
}

static void values_that_ask_for_what_happens_anyway_are_not(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    static const struct {
        enum api_resource_index resource;
        const char *json;
        size_t warnings;
    } cases[] = {
        {API_SERVICES, "{'spec':{'type':'NodePort','ports':[{'port':80}]}}", 0},
        {API_SERVICES, "{'spec':{'type':'LoadBalancer','ports':[{'port':80,'protocol':'SCTP'}],'loadBalancerIP':'1.2.3.4'}}", 0},
        {API_PODS, "{'metadata':{'name':'p'},'spec':{'hostUsers':true,'containers':[{'name':'a','image':'i'}]}}", 0},
        {API_PODS, "{'metadata':{'name':'p'},'spec':{'hostUsers':false,'containers':[{'name':'a','image':'i'}]}}", 1},
        {API_PODS, "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'a','image':'i','ports':[{'containerPort':1}]}]}}", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct api_resource *r = &api_resources[cases[i].resource];
        struct api_warnings sent = {.arena = arena}, stored = {.arena = arena};
        api_warn_inert(r->type, decode(arena, r, cases[i].json), NULL, &sent);
        assert_int_equal(sent.count, cases[i].warnings);
        /* Defaulting sets nothing that would be warned about. */
        api_warn_inert(r->type, prepare(arena, r, cases[i].json), NULL, &stored);
        assert_int_equal(stored.count, cases[i].warnings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inert_fields_that_are_set_are_named),
        cmocka_unit_test(values_that_ask_for_what_happens_anyway_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The way from what is in the kernel to what ought to be there. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "network/plan_private.h"

/* Elements go into lists by set and protocol. */
#define ELEMENT_LISTS (ELEMENT_SETS * ELEMENT_PROTOCOLS)

struct changes {
    struct buffer deleted[ELEMENT_LISTS];
    struct buffer added[ELEMENT_LISTS];
    bool anew; /* the table: elements go here instead */
    struct elements elements[ELEMENT_LISTS];
    struct buffer chains;
    VECTOR(uint32_t) remember; /* as in struct dataplane_transaction */
    bool opened;               /* likewise */
};

static void free_changes(struct changes *changes)
{
    for (size_t i = 0; i < ELEMENT_LISTS; i++) {
        buffer_free(&changes->deleted[i]);
        buffer_free(&changes->added[i]);
        vector_free(&changes->elements[i]);
    }
    buffer_free(&changes->chains);
    vector_free(&changes->remember);
}

static bool is_inside(const struct element *e)
{
    return e->set == INSIDE_SIZES || e->set == INSIDE_NODE_PORT_SIZES;
}

/* What packets are translated by. */
static bool is_entrance(const struct element *e)
{
    return is_inside(e) || e->set == SERVICE_SIZES || e->set == NODE_PORT_SIZES;
}

/* The chains that an element's number leads to must be there before it is. */
static void need_chains(struct dataplane_plan *plan, const struct element *e, struct changes *changes)
{
    bool *pick = &plan->picks[is_inside(e)][e->number % ELEMENT_INSIDE % ARRAY_COUNT(plan->picks[0])];
    if (is_entrance(e) && !*pick) {
        *pick = true;
        nft_write_pick(&changes->chains, &plan->config, e->number);
    }
    if (e->set != SERVICE_AFFINITY && e->set != NODE_PORT_AFFINITY)
        return;
    for (size_t i = 0; i < plan->remembered.count; i++)
        if (plan->remembered.items[i] == e->number)
            return;
    vector_push(&plan->remembered, e->number);
    nft_write_remember(&changes->chains, &plan->config, e->number);
    if (plan->config.family == AF_INET6)
        vector_push(&changes->remember, e->number);
}

static size_t list_of(const struct element *e)
{
    return e->set * ELEMENT_PROTOCOLS + element_protocol_index(e->protocol);
}

static struct buffer *open_list(struct buffer *lists, const struct element *e)
{
    struct buffer *list = &lists[list_of(e)];
    if (list->size)
        buffer_add_string(list, ", ");
    return list;
}

static void stop_lingering(struct dataplane_plan *plan, struct rule *rule)
{
    if (list_empty(&rule->lingering))
        return;
    list_remove(&rule->lingering);
    plan->lingering_count--;
}

/* Writes that a rule's element goes. */
static void uninstall(struct rule *rule, struct changes *changes)
{
    nft_write_key(open_list(changes->deleted, &rule->installed), &rule->installed);
    rule->is_installed = false;
}

/* A packet that was led to an endpoint by the rules of before may leave under those of after. If it is on its way back
 * to its sender it must still be masqueraded then, or the connection never comes about; so hairpins, which do no harm,
 * go long after their endpoints. */
static bool lingers(struct dataplane_plan *plan, struct rule *rule)
{
    if (rule->installed.set != HAIRPIN || !rule->is_installed)
        return false;
    if (list_empty(&rule->lingering)) {
        list_append(&plan->lingering, &rule->lingering);
        plan->lingering_count++;
    }
    return true;
}

/* Brings a rule's installed state up to its first claim, and writes how. Returns false if the rule is done with. */
static bool settle(struct dataplane_plan *plan, struct rule *rule, struct changes *changes)
{
    const struct element *wanted = plan_wanted(rule);
    if (!wanted && lingers(plan, rule))
        return true;
    stop_lingering(plan, rule);
    changes->opened |= wanted && !rule->is_installed && is_entrance(wanted) && wanted->protocol == IPPROTO_UDP;
    if (rule->is_installed && (!wanted || !element_value_equal(&rule->installed, wanted)))
        uninstall(rule, changes);
    if (wanted && !rule->is_installed) {
        need_chains(plan, wanted, changes);
        if (changes->anew)
            vector_push(&changes->elements[list_of(wanted)], *wanted);
        else
            nft_write_element(open_list(changes->added, wanted), wanted);
        rule->installed = *wanted;
        rule->is_installed = true;
    }
    return wanted != NULL;
}

static void release_rule(struct dataplane_plan *plan, struct rule *rule)
{
    char key[KEY_TEXT_MAX];
    plan_rule_key(&rule->installed, key);
    map_remove(&plan->rules, key);
    free(rule);
}

static void settle_changed(struct dataplane_plan *plan, struct changes *changes)
{
    struct rule *rule;
    list_for_each(&plan->changed, rule, changed)
    {
        list_remove(&rule->changed);
        if (!settle(plan, rule, changes))
            release_rule(plan, rule);
    }
    while (plan->lingering_count > DATAPLANE_HAIRPINS_LINGERING) {
        rule = list_entry(plan->lingering.next, struct rule, lingering);
        stop_lingering(plan, rule);
        uninstall(rule, changes);
        release_rule(plan, rule);
    }
}

static void write_lists(struct buffer *out, const char *verb, const struct dataplane_plan_config *config,
                        const struct buffer *lists)
{
    for (size_t i = 0; i < ELEMENT_LISTS; i++) {
        if (lists[i].size == 0)
            continue;
        buffer_printf(out, "%s element %s %s ", verb, nft_family(config->family), config->table);
        nft_write_set_name(out, i / ELEMENT_PROTOCOLS, i % ELEMENT_PROTOCOLS);
        buffer_add_string(out, " { ");
        buffer_add(out, lists[i].data, lists[i].size);
        buffer_add_string(out, " }\n");
    }
}

/* Lists the withdrawals that the rules have not taken back since. */
static void write_withdrawals(struct dataplane_plan *plan, struct dataplane_transaction *out)
{
    for (size_t i = 0; i < plan->withdrawals.count; i++) {
        const struct dataplane_withdrawal *w = &plan->withdrawals.items[i];
        enum element_set set = w->service_address.family ? SERVICE_ENDPOINTS : NODE_PORT_ENDPOINTS;
        if (!w->flows || !plan_leads(plan, set, w->service_address, w))
            vector_push(&out->withdrawals, *w);
    }
    plan->withdrawals.count = 0;
}

static void write_changes(struct dataplane_plan *plan, bool anew, struct dataplane_transaction *out)
{
    struct changes changes = {.anew = anew};
    settle_changed(plan, &changes);
    write_lists(&out->script, "delete", &plan->config, changes.deleted);
    buffer_add(&out->script, changes.chains.data ? changes.chains.data : "", changes.chains.size);
    write_lists(&out->script, "add", &plan->config, changes.added);
    out->opened[plan->config.family == AF_INET6] |= changes.opened;
    for (size_t i = 0; i < changes.remember.count; i++)
        vector_push(&out->remember, changes.remember.items[i]);
    for (size_t i = 0; i < ELEMENT_LISTS; i++)
        for (size_t k = 0; k < changes.elements[i].count; k++)
            vector_push(&out->elements[plan->config.family == AF_INET6], changes.elements[i].items[k]);
    free_changes(&changes);
}

void dataplane_plan_diff(struct dataplane_plan *plan, struct dataplane_transaction *out)
{
    write_withdrawals(plan, out);
    write_changes(plan, false, out);
}

void dataplane_plan_full(struct dataplane_plan *plan, struct dataplane_transaction *out)
{
    for (struct map_slot *s = NULL; (s = map_next(&plan->rules, s));) {
        struct rule *rule = s->value;
        rule->is_installed = false;
        plan_mark_changed(plan, rule);
    }
    memset(plan->picks, 0, sizeof(plan->picks));
    plan->remembered.count = 0;
    write_withdrawals(plan, out);
    nft_write_frame(&out->script, &plan->config);
    write_changes(plan, true, out);
}

void dataplane_transaction_free(struct dataplane_transaction *transaction)
{
    buffer_free(&transaction->script);
    for (size_t i = 0; i < ARRAY_COUNT(transaction->elements); i++)
        vector_free(&transaction->elements[i]);
    vector_free(&transaction->withdrawals);
    vector_free(&transaction->remember);
}

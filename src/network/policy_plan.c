/* Keeps what is known of policies, pods and namespaces, and says what changes. Changes of a pod are taken in one by
 * one; what a local pod may do is made anew when it has changed, what all of them may do when a policy or the set of
 * classes has, and compared with what was said before. What several pods tell, sets of ports, is there while one does.
 * Numbers of classes and port sets are never used twice: a packet that meets a change between two lookups finds
 * nothing, rather than something else. */
#include "network/policy_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/pod_containers.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "network/policy_private.h"

static struct string_map copy_labels(struct arena *arena, const struct string_map *labels)
{
    struct string_map out = {arena_alloc(arena, (labels->count + 1) * sizeof(*out.items)), labels->count};
    for (size_t i = 0; i < labels->count; i++)
        out.items[i] = (struct string_pair){arena_string(arena, labels->items[i].key),
                                            arena_string(arena, labels->items[i].value ? labels->items[i].value : "")};
    return out;
}

/* ---- Pods ---- */

static void mark(struct policy_plan *plan, struct policy_subject *pod)
{
    if (list_empty(&pod->dirty))
        list_append(&plan->dirty, &pod->dirty);
}

static void say(struct policy_plan *plan, struct policy_changes *out, enum policy_set set, bool ipv6, const char *key,
                uint32_t value, bool remove)
{
    struct map *told = &plan->told[set][ipv6];
    uintptr_t before = (uintptr_t)map_get(told, key);
    if (remove ? !before : before == (uintptr_t)value + 1)
        return;
    if (remove)
        map_remove(told, key);
    else
        map_set(told, key, (void *)((uintptr_t)value + 1));
    vector_push(out, (struct policy_change){set, ipv6, remove, mem_string(key), remove ? 0 : value});
}

/* What it may do is to be made again. */
static void mark_rules(struct policy_plan *plan, struct policy_subject *pod)
{
    if (pod->local && list_empty(&pod->unruled))
        list_append(&plan->unruled, &pod->unruled);
}

static void free_pod(struct policy_plan *plan, struct policy_subject *pod)
{
    for (size_t i = 0; i < pod->address_count; i++)
        if (pod->classes[i])
            vector_push(&plan->released, pod->classes[i]);
    if (!list_empty(&pod->dirty))
        list_remove(&pod->dirty);
    if (!list_empty(&pod->unruled))
        list_remove(&pod->unruled);
    if (pod->rules)
        vector_push(&plan->given_up, pod->rules);
    arena_free(pod->arena);
    free(pod);
}

bool policy_owns_address(const struct policy_plan *plan, const struct policy_subject *pod, size_t i)
{
    char text[IP_ADDRESS_TEXT_MAX];
    return map_get(&plan->owners, ip_address_text(&pod->addresses[i], text)) == pod;
}

static void leave_addresses(struct policy_plan *plan, const struct policy_subject *pod)
{
    for (size_t i = 0; i < pod->address_count; i++) {
        char text[IP_ADDRESS_TEXT_MAX];
        if (!policy_owns_address(plan, pod, i))
            continue;
        map_remove(&plan->owners, ip_address_text(&pod->addresses[i], text));
        map_set(&plan->left, text, NULL);
    }
}

/* A pod that is being deleted takes no address from one that is not. */
static void take_addresses(struct policy_plan *plan, struct policy_subject *pod)
{
    for (size_t i = 0; i < pod->address_count; i++) {
        char text[IP_ADDRESS_TEXT_MAX];
        struct policy_subject *owner = map_get(&plan->owners, ip_address_text(&pod->addresses[i], text));
        if (owner && pod->deleting && !owner->deleting)
            continue;
        map_set(&plan->owners, text, pod);
        if (owner)
            mark_rules(plan, owner);
    }
}

/* Sidecars have ports, too. */
static size_t named_ports(const struct pod_spec *spec, struct arena *arena, struct policy_named_port *out)
{
    const struct container *c;
    size_t count = 0;
    for (size_t at = 0; (c = api_next_serving(spec, &at));)
        for (size_t i = 0; i < c->ports.count; i++) {
            const struct container_port *p = &c->ports.items[i];
            if (text_empty(p->name))
                continue;
            if (out)
                out[count] = (struct policy_named_port){arena_string(arena, p->name), policy_protocol(p->protocol),
                                                        (uint16_t)p->container_port};
            count++;
        }
    return count;
}

static void read_ports(struct policy_subject *pod, const struct pod_spec *spec)
{
    pod->ports = arena_alloc(pod->arena, (named_ports(spec, NULL, NULL) + 1) * sizeof(*pod->ports));
    pod->port_count = named_ports(spec, pod->arena, pod->ports);
}

static bool same_pod(const struct policy_subject *a, const struct policy_subject *b)
{
    bool same = a->local == b->local && a->deleting == b->deleting && a->address_count == b->address_count &&
                a->port_count == b->port_count && string_map_equal(&a->labels, &b->labels);
    for (size_t i = 0; same && i < a->address_count; i++)
        same = ip_address_equal(&a->addresses[i], &b->addresses[i]);
    for (size_t i = 0; same && i < a->port_count; i++)
        same = a->ports[i].protocol == b->ports[i].protocol && a->ports[i].number == b->ports[i].number &&
               strcmp(a->ports[i].name, b->ports[i].name) == 0;
    return same;
}

static void put_pod(struct policy_plan *plan, const char *key, struct policy_subject *made)
{
    struct policy_subject *old = map_get(&plan->pods, key);
    if (old && made && same_pod(old, made)) {
        free_pod(plan, made);
        return;
    }
    if (old) {
        leave_addresses(plan, old);
        map_remove(&plan->pods, key);
        free_pod(plan, old);
    }
    if (made) {
        map_set(&plan->pods, key, made);
        take_addresses(plan, made);
        mark(plan, made);
        mark_rules(plan, made);
    }
}

void policy_plan_set_pod(struct policy_plan *plan, const char *namespace, const char *name, const struct pod *pod,
                         const struct ip_address *addresses, size_t count, bool local)
{
    cleanup_free char *key = mem_printf("%s/%s", namespace, name);
    const char *phase = pod && pod->status.phase ? pod->status.phase : "";
    if (!pod || pod->spec.host_network || !count || strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0) {
        put_pod(plan, key, NULL);
        return;
    }
    struct policy_subject *made = mem_zero(1, sizeof(*made));
    list_init(&made->dirty);
    list_init(&made->unruled);
    made->arena = arena_new(0);
    made->namespace = arena_string(made->arena, namespace);
    made->labels = copy_labels(made->arena, &pod->metadata.labels);
    made->local = local;
    made->deleting = pod->metadata.deletion_timestamp != 0;
    for (size_t i = 0; i < count && i < POLICY_ADDRESSES_MAX; i++)
        made->addresses[made->address_count++] = addresses[i];
    read_ports(made, &pod->spec);
    put_pod(plan, key, made);
}

/* ---- Namespaces and policies ---- */

static void free_namespace(struct policy_namespace *n)
{
    if (!n)
        return;
    arena_free(n->arena);
    free(n);
}

void policy_plan_set_namespace(struct policy_plan *plan, const char *name, const struct string_map *labels)
{
    struct policy_namespace *old = map_get(&plan->namespaces, name);
    if (old ? labels && string_map_equal(&old->labels, labels) : !labels)
        return;
    if (labels) {
        struct policy_namespace *made = mem_zero(1, sizeof(*made));
        made->arena = arena_new(0);
        made->labels = copy_labels(made->arena, labels);
        map_set(&plan->namespaces, name, made);
    } else {
        map_remove(&plan->namespaces, name);
    }
    free_namespace(old);
    for (struct map_slot *s = NULL; (s = map_next(&plan->pods, s));) {
        struct policy_subject *pod = s->value;
        if (strcmp(pod->namespace, name) == 0)
            mark(plan, pod);
    }
}

static void free_policy(struct policy *policy)
{
    if (!policy)
        return;
    arena_free(policy->arena);
    if (policy->compiled)
        arena_free(policy->compiled);
    free(policy);
}

void policy_plan_set_policy(struct policy_plan *plan, const char *namespace, const char *name,
                            const struct network_policy *value)
{
    cleanup_free char *key = mem_printf("%s/%s", namespace, name);
    struct policy *old = map_get(&plan->policies, key);
    if (old && value && api_equal(&api_type_network_policy_spec, &old->value->spec, &value->spec))
        return;
    if (!old && !value)
        return;
    plan->policies_changed = true;
    if (value) {
        struct policy *policy = mem_zero(1, sizeof(*policy));
        policy->arena = arena_new(0);
        struct network_policy *copy = arena_alloc(policy->arena, sizeof(*copy));
        api_copy_into(policy->arena, &api_type_network_policy, value, copy);
        copy->metadata.namespace = arena_string(policy->arena, namespace);
        policy->value = copy;
        map_set(&plan->policies, key, policy);
    } else {
        map_remove(&plan->policies, key);
    }
    free_policy(old);
}

/* ---- Changes ---- */

static void settle_pods(struct policy_plan *plan, struct policy_changes *out)
{
    struct policy_subject *pod;
    list_for_each(&plan->dirty, pod, dirty)
    {
        list_remove(&pod->dirty);
        for (size_t i = 0; i < pod->address_count; i++) {
            char text[IP_ADDRESS_TEXT_MAX];
            if (pod->classes[i])
                vector_push(&plan->released, pod->classes[i]);
            struct policy_class *class = pod->classes[i] = policy_class_of(plan, pod, &pod->addresses[i]);
            if (!policy_owns_address(plan, pod, i))
                continue;
            map_remove(&plan->left, ip_address_text(&pod->addresses[i], text));
            say(plan, out, POLICY_PEERS, pod->addresses[i].family == AF_INET6, text, class ? class->id : 0, !class);
        }
    }
    for (struct map_slot *s = NULL; (s = map_next(&plan->left, s));)
        say(plan, out, POLICY_PEERS, strchr(s->key, ':') != NULL, s->key, 0, true);
    map_free(&plan->left);
    for (size_t i = 0; i < plan->released.count; i++)
        policy_class_release(plan, plan->released.items[i]);
    plan->released.count = 0;
}

/* Says what differs between what was said of a set and what is so now. */
static void say_set(struct policy_plan *plan, struct policy_changes *out, enum policy_set set, bool ipv6,
                    const struct map *now)
{
    VECTOR(char *) gone = {0};
    for (struct map_slot *s = NULL; (s = map_next(&plan->told[set][ipv6], s));)
        if (!map_has(now, s->key))
            vector_push(&gone, mem_string(s->key));
    for (size_t i = 0; i < gone.count; i++) {
        say(plan, out, set, ipv6, gone.items[i], 0, true);
        free(gone.items[i]);
    }
    vector_free(&gone);
    for (struct map_slot *s = NULL; (s = map_next(now, s));)
        say(plan, out, set, ipv6, s->key, (uint32_t)((uintptr_t)s->value - 1), false);
}

static void settle_blocks(struct policy_plan *plan, struct policy_changes *out)
{
    struct map now[2] = {0};
    for (size_t i = 0; i < plan->ranges.count; i++) {
        const struct policy_range *r = &plan->ranges.items[i];
        char first[IP_ADDRESS_TEXT_MAX], last[IP_ADDRESS_TEXT_MAX], key[IP_ADDRESS_TEXT_MAX * 2];
        ip_address_text(&r->first, first);
        ip_address_text(&r->last, last);
        snprintf(key, sizeof(key), "%s%s%s", first, strcmp(first, last) ? "-" : "", strcmp(first, last) ? last : "");
        map_set(&now[r->first.family == AF_INET6], key, (void *)((uintptr_t)r->class->id + 1));
    }
    for (int family = 0; family < 2; family++) {
        say_set(plan, out, POLICY_BLOCKS, family, &now[family]);
        map_free(&now[family]);
    }
}

/* Counts what a pod tells, or told; `touched` gets the values, 0 for what is given up. */
static void claim(struct policy_plan *plan, const struct policy_rules *rules, bool told, struct policy_rules *touched)
{
    for (int set = 0; set < POLICY_SETS; set++)
        for (int family = 0; family < 2; family++)
            for (struct map_slot *s = NULL; (s = map_next(&rules->told[set][family], s));) {
                struct map *claims = &plan->claims[set][family], *values = &touched->told[set][family];
                uintptr_t count = (uintptr_t)map_get(claims, s->key) + (told ? 1 : -1);
                if (count)
                    map_set(claims, s->key, (void *)count);
                else
                    map_remove(claims, s->key);
                if (told || !map_has(values, s->key))
                    map_set(values, s->key, told ? s->value : NULL);
            }
}

/* What nobody tells any more goes; what another pod tells as well is as it was. */
static void say_touched(struct policy_plan *plan, struct policy_changes *out, const struct policy_rules *touched)
{
    for (int set = 0; set < POLICY_SETS; set++)
        for (int family = 0; family < 2; family++)
            for (struct map_slot *s = NULL; (s = map_next(&touched->told[set][family], s));) {
                if (!map_has(&plan->claims[set][family], s->key))
                    say(plan, out, set, family, s->key, 0, true);
                else if (s->value)
                    say(plan, out, set, family, s->key, (uint32_t)((uintptr_t)s->value - 1), false);
            }
}

static void settle_rules(struct policy_plan *plan, struct policy_changes *out)
{
    struct policy_rules *touched = mem_zero(1, sizeof(*touched));
    struct policy_subject *pod;
    for (struct map_slot *s = NULL; plan->rules_changed && (s = map_next(&plan->pods, s));)
        mark_rules(plan, s->value);
    if (plan->port_sets.count > POLICY_PORT_SETS_MAX)
        map_free(&plan->port_sets);
    /* An address may have moved from one to another: all give up first. */
    for (size_t i = 0; i < plan->given_up.count; i++) {
        claim(plan, plan->given_up.items[i], false, touched);
        policy_rules_free(plan->given_up.items[i]);
    }
    plan->given_up.count = 0;
    list_for_each(&plan->unruled, pod, unruled)
    {
        if (pod->rules)
            claim(plan, pod->rules, false, touched);
    }
    list_for_each(&plan->unruled, pod, unruled)
    {
        list_remove(&pod->unruled);
        policy_rules_free(pod->rules);
        pod->rules = mem_zero(1, sizeof(*pod->rules));
        policy_make_rules(plan, pod, pod->rules);
        claim(plan, pod->rules, true, touched);
        plan->pods_made++;
    }
    say_touched(plan, out, touched);
    policy_rules_free(touched);
}

/* Classes that mean the same as before stay what they are: the new ones are taken before the old are given up. */
static void take_policies(struct policy_plan *plan)
{
    policy_compile_all(plan);
    for (struct map_slot *s = NULL; (s = map_next(&plan->pods, s));)
        mark(plan, s->value);
    for (size_t i = 0; i < plan->ranges.count; i++)
        vector_push(&plan->released, plan->ranges.items[i].class);
    plan->ranges.count = 0;
    policy_make_ranges(plan);
    plan->rules_changed = true;
}

bool policy_plan_changes(struct policy_plan *plan, struct policy_changes *out)
{
    bool policies = plan->policies_changed;
    if (policies)
        take_policies(plan);
    settle_pods(plan, out);
    if (policies)
        settle_blocks(plan, out);
    settle_rules(plan, out);
    plan->policies_changed = plan->rules_changed = false;
    return !plan->full;
}

uint64_t policy_plan_pods_made(const struct policy_plan *plan)
{
    return plan->pods_made;
}

/* ---- */

struct policy_plan *policy_plan_new(const char *dns_address)
{
    struct policy_plan *plan = mem_zero(1, sizeof(*plan));
    list_init(&plan->dirty);
    list_init(&plan->unruled);
    plan->next_port_set = POLICY_NOTHING;
    if (!dns_address || !ip_address_parse(dns_address, &plan->dns_address))
        return plan;
    struct policy_subject *server = mem_zero(1, sizeof(*server));
    list_init(&server->dirty);
    list_init(&server->unruled);
    server->arena = arena_new(0);
    server->namespace = "kube-system";
    server->labels.items = arena_alloc(server->arena, sizeof(*server->labels.items));
    server->labels.items[server->labels.count++] = (struct string_pair){"k8s-app", "kube-dns"};
    server->addresses[server->address_count++] = plan->dns_address;
    server->ports = arena_alloc(server->arena, 2 * sizeof(*server->ports));
    server->ports[server->port_count++] = (struct policy_named_port){"dns", IPPROTO_UDP, 53};
    server->ports[server->port_count++] = (struct policy_named_port){"dns-tcp", IPPROTO_TCP, 53};
    put_pod(plan, "", server);
    return plan;
}

void policy_plan_free(struct policy_plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->ranges.count; i++)
        vector_push(&plan->released, plan->ranges.items[i].class);
    vector_free(&plan->ranges);
    for (struct map_slot *s = NULL; (s = map_next(&plan->pods, s));)
        free_pod(plan, s->value);
    for (size_t i = 0; i < plan->released.count; i++)
        policy_class_release(plan, plan->released.items[i]);
    vector_free(&plan->released);
    map_free(&plan->pods);
    for (size_t i = 0; i < plan->given_up.count; i++)
        policy_rules_free(plan->given_up.items[i]);
    vector_free(&plan->given_up);
    map_free(&plan->owners);
    map_free(&plan->left);
    for (struct map_slot *s = NULL; (s = map_next(&plan->policies, s));)
        free_policy(s->value);
    map_free(&plan->policies);
    for (struct map_slot *s = NULL; (s = map_next(&plan->namespaces, s));)
        free_namespace(s->value);
    map_free(&plan->namespaces);
    map_free(&plan->classes);
    map_free(&plan->port_sets);
    map_free(&plan->term_index);
    map_free(&plan->egress_names);
    vector_free(&plan->terms);
    vector_free(&plan->free_places);
    for (int set = 0; set < POLICY_SETS; set++)
        for (int family = 0; family < 2; family++) {
            map_free(&plan->told[set][family]);
            map_free(&plan->claims[set][family]);
        }
    free(plan);
}

/* What policies say about peers: terms, the classes of pods and addresses that follow from them, and the ranges into
 * which ipBlocks part the addresses. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "network/policy_private.h"

uint8_t policy_protocol(const char *protocol)
{
    return protocol && strcmp(protocol, "UDP") == 0    ? IPPROTO_UDP
           : protocol && strcmp(protocol, "SCTP") == 0 ? IPPROTO_SCTP
                                                       : IPPROTO_TCP;
}

/* ---- Compiling ---- */

static const struct selector *compile(struct arena *arena, const struct label_selector *from)
{
    const struct selector *out = NULL;
    return selector_from_label_selector(arena, from, &out, NULL) < 0 ? NULL : out;
}

/* Terms keep their places as long as a policy has them, and so do the classes that follow from them. */
static long place_term(struct policy_plan *plan, const char *text, const struct policy_term *term)
{
    size_t place = (size_t)(uintptr_t)map_get(&plan->term_index, text);
    bool known = place != 0;
    if (!known && plan->free_places.count)
        place = plan->free_places.items[--plan->free_places.count] + 1;
    if (!place && plan->terms.count == POLICY_TERMS_MAX) {
        plan->full = true;
        return -1;
    }
    if (!place) {
        vector_push(&plan->terms, *term);
        place = plan->terms.count;
    }
    plan->terms.items[place - 1] = *term;
    if (!known)
        map_set(&plan->term_index, text, (void *)(uintptr_t)place);
    return (long)place - 1;
}

/* The place of the peer's term; -1: it cannot be. */
static long term_of(struct policy_plan *plan, const struct policy *policy, const struct network_policy_peer *peer)
{
    struct arena *arena = policy->compiled;
    cleanup_buffer struct buffer text = {0};
    struct policy_term term = {.used = true};
    if (peer->ip_block) {
        const struct string_array *except = &peer->ip_block->except;
        struct ip_prefix *prefixes = arena_alloc(arena, (except->count + 1) * sizeof(*prefixes));
        term.block = true;
        term.except = prefixes;
        if (!peer->ip_block->cidr || !ip_prefix_parse(peer->ip_block->cidr, &term.cidr))
            return -1;
        buffer_printf(&text, "B %s", peer->ip_block->cidr);
        for (size_t i = 0; i < except->count; i++) {
            buffer_printf(&text, " %s", except->items[i]);
            term.except_count += except->items[i] && ip_prefix_parse(except->items[i], &prefixes[term.except_count]);
        }
    } else {
        if (peer->pod_selector && !(term.pods = compile(arena, peer->pod_selector)))
            return -1;
        if (peer->namespace_selector && !(term.namespaces = compile(arena, peer->namespace_selector)))
            return -1;
        if (!peer->namespace_selector)
            term.namespace = policy->value->metadata.namespace;
        buffer_printf(&text, "%s\n%s\n", term.namespace ? term.namespace : "",
                      term.namespaces ? selector_text(arena, term.namespaces) : "");
        buffer_add_string(&text, term.pods ? selector_text(arena, term.pods) : "*");
    }
    return place_term(plan, text.data, &term);
}

static void compile_rule(struct policy_plan *plan, struct policy *policy, bool egress,
                         const struct network_policy_peer_array *peers, const struct network_policy_port_array *ports)
{
    struct policy_clause *rule = &policy->rules[policy->rule_count++];
    *rule = (struct policy_clause){.egress = egress, .any_peer = !peers->count, .ports = ports};
    rule->terms = arena_alloc(policy->compiled, (peers->count + 1) * sizeof(*rule->terms));
    for (size_t i = 0; i < peers->count; i++) {
        long term = term_of(plan, policy, &peers->items[i]);
        if (term >= 0)
            rule->terms[rule->term_count++] = (uint32_t)term;
    }
    for (size_t i = 0; egress && i < ports->count; i++) {
        const struct network_policy_port *p = &ports->items[i];
        if (p->port.kind != INT_OR_STRING_STRING)
            continue;
        cleanup_free char *name = mem_printf("%u/%s", policy_protocol(p->protocol), p->port.text);
        map_set(&plan->egress_names, name, NULL);
    }
}

static void compile_policy(struct policy_plan *plan, struct policy *policy)
{
    const struct network_policy_spec *spec = &policy->value->spec;
    policy->pods = compile(policy->compiled, &spec->pod_selector);
    policy->ingress = policy->egress = false;
    for (size_t i = 0; i < spec->policy_types.count; i++) {
        policy->ingress |= strcmp(spec->policy_types.items[i], "Ingress") == 0;
        policy->egress |= strcmp(spec->policy_types.items[i], "Egress") == 0;
    }
    policy->rules =
        arena_alloc(policy->compiled, (spec->ingress.count + spec->egress.count + 1) * sizeof(*policy->rules));
    policy->rule_count = 0;
    for (size_t i = 0; policy->ingress && i < spec->ingress.count; i++)
        compile_rule(plan, policy, false, &spec->ingress.items[i].from, &spec->ingress.items[i].ports);
    for (size_t i = 0; policy->egress && i < spec->egress.count; i++)
        compile_rule(plan, policy, true, &spec->egress.items[i].to, &spec->egress.items[i].ports);
}

/* Places of terms that no policy has any more are free for those of the next time. */
static void forget_terms(struct policy_plan *plan)
{
    VECTOR(char *) gone = {0};
    for (struct map_slot *s = NULL; (s = map_next(&plan->term_index, s));)
        if (!plan->terms.items[(uintptr_t)s->value - 1].used)
            vector_push(&gone, mem_string(s->key));
    for (size_t i = 0; i < gone.count; i++) {
        uintptr_t place = (uintptr_t)map_remove(&plan->term_index, gone.items[i]);
        vector_push(&plan->free_places, (uint32_t)(place - 1));
        free(gone.items[i]);
    }
    vector_free(&gone);
}

void policy_compile_all(struct policy_plan *plan)
{
    plan->full = false;
    map_free(&plan->egress_names);
    for (size_t i = 0; i < plan->terms.count; i++)
        plan->terms.items[i].used = false;
    for (struct map_slot *s = NULL; (s = map_next(&plan->policies, s));) {
        struct policy *policy = s->value;
        if (policy->compiled)
            arena_free(policy->compiled);
        policy->compiled = arena_new(0);
        compile_policy(plan, policy);
    }
    forget_terms(plan);
}

/* ---- Classes ---- */

bool policy_term_matches_address(const struct policy_term *term, const struct ip_address *address)
{
    if (!ip_prefix_contains(&term->cidr, address))
        return false;
    for (size_t i = 0; i < term->except_count; i++)
        if (ip_prefix_contains(&term->except[i], address))
            return false;
    return true;
}

static bool term_matches_pod(const struct policy_plan *plan, const struct policy_term *term,
                             const struct policy_subject *pod)
{
    if (term->namespace && strcmp(term->namespace, pod->namespace) != 0)
        return false;
    if (!term->namespace) {
        const struct policy_namespace *n = map_get(&plan->namespaces, pod->namespace);
        if (!n || !selector_matches(term->namespaces, &n->labels))
            return false;
    }
    return !term->pods || selector_matches(term->pods, &pod->labels);
}

struct policy_class *policy_class_of(struct policy_plan *plan, const struct policy_subject *pod,
                                     const struct ip_address *address)
{
    size_t words = plan->terms.count / 64 + 1;
    cleanup_free uint64_t *terms = mem_zero(words, sizeof(*terms));
    cleanup_buffer struct buffer text = {0};
    for (size_t i = 0; i < plan->terms.count; i++) {
        const struct policy_term *t = &plan->terms.items[i];
        if (!t->used || (t->block ? !policy_term_matches_address(t, address) : !pod || !term_matches_pod(plan, t, pod)))
            continue;
        terms[i / 64] |= UINT64_C(1) << i % 64;
        buffer_printf(&text, "%zu,", i);
    }
    VECTOR(struct policy_named_port) ports = {0};
    for (size_t i = 0; pod && i < pod->port_count; i++) {
        cleanup_free char *name = mem_printf("%u/%s", pod->ports[i].protocol, pod->ports[i].name);
        if (!map_has(&plan->egress_names, name))
            continue;
        buffer_printf(&text, "%s=%u,", name, pod->ports[i].number);
        vector_push(&ports, (struct policy_named_port){mem_string(pod->ports[i].name), pod->ports[i].protocol,
                                                       pod->ports[i].number});
    }
    struct policy_class *class = text.size ? map_get(&plan->classes, text.data) : NULL;
    if (text.size && !class) {
        class = mem_zero(1, sizeof(*class));
        class->signature = mem_string(text.data);
        class->id = ++plan->next_class;
        class->terms = steal_pointer(terms);
        class->words = words;
        class->ports = steal_pointer(ports.items);
        class->port_count = ports.count;
        ports.count = 0;
        map_set(&plan->classes, class->signature, class);
        plan->rules_changed = true;
    }
    for (size_t i = 0; i < ports.count; i++)
        free((char *)ports.items[i].name);
    vector_free(&ports);
    if (class)
        class->references++;
    return class;
}

void policy_class_release(struct policy_plan *plan, struct policy_class *class)
{
    if (!class || --class->references)
        return;
    map_remove(&plan->classes, class->signature);
    plan->rules_changed = true;
    for (size_t i = 0; i < class->port_count; i++)
        free((char *)class->ports[i].name);
    free(class->ports);
    free(class->terms);
    free(class->signature);
    free(class);
}

/* ---- Ranges ---- */

typedef VECTOR(struct ip_address) edge_vector;

static int compare_edges(const void *a, const void *b)
{
    return ip_address_compare(a, b);
}

/* The address before and after; false when there is none. */
static bool step(struct ip_address *address, int by)
{
    unsigned char *bytes = (unsigned char *)&address->v6;
    for (size_t i = ip_address_size(address->family); i-- > 0;) {
        bytes[i] = (unsigned char)(bytes[i] + by);
        if (bytes[i] != (by > 0 ? 0x00 : 0xff))
            return true;
    }
    return false;
}

static struct ip_address last_of(const struct ip_prefix *prefix)
{
    struct ip_address out = prefix->address;
    unsigned char *bytes = (unsigned char *)&out.v6;
    for (size_t i = 0; i < ip_address_size(out.family); i++) {
        int kept = prefix->length - (int)i * 8;
        bytes[i] |= kept >= 8 ? 0 : kept <= 0 ? 0xff : (unsigned char)(0xff >> kept);
    }
    return out;
}

/* Where one range may end and another begin. */
static void add_edges(edge_vector *edges, const struct ip_prefix *prefix)
{
    struct ip_address after = last_of(prefix);
    vector_push(edges, prefix->address);
    if (step(&after, 1))
        vector_push(edges, after);
}

static void add_range(struct policy_plan *plan, const struct ip_address *first, const struct ip_address *last)
{
    struct policy_class *class = policy_class_of(plan, NULL, first);
    if (!class)
        return;
    if (plan->ranges.count) {
        struct policy_range *before = &plan->ranges.items[plan->ranges.count - 1];
        struct ip_address next = before->last;
        if (before->class == class && step(&next, 1) && ip_address_equal(&next, first)) {
            before->last = *last;
            policy_class_release(plan, class);
            return;
        }
    }
    vector_push(&plan->ranges, (struct policy_range){*first, *last, class});
}

void policy_make_ranges(struct policy_plan *plan)
{
    edge_vector edges = {0};
    for (size_t i = 0; i < plan->terms.count; i++) {
        const struct policy_term *t = &plan->terms.items[i];
        if (!t->used || !t->block)
            continue;
        add_edges(&edges, &t->cidr);
        for (size_t k = 0; k < t->except_count; k++)
            add_edges(&edges, &t->except[k]);
    }
    if (edges.count)
        qsort(edges.items, edges.count, sizeof(edges.items[0]), compare_edges);
    for (size_t i = 0; i < edges.count; i++) {
        struct ip_address *first = &edges.items[i], last = *first;
        if (i + 1 < edges.count && ip_address_equal(first, &edges.items[i + 1]))
            continue;
        if (i + 1 < edges.count && edges.items[i + 1].family == first->family) {
            last = edges.items[i + 1];
            step(&last, -1);
        } else {
            last = last_of(&(struct ip_prefix){.address = *first, .length = 0});
            memset(&last.v6, 0xff, ip_address_size(last.family));
        }
        add_range(plan, first, &last);
    }
    vector_free(&edges);
}

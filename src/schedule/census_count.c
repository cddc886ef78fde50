/* Groups of pods and terms that pods carry, counted per node, and per domain of the topologies that somebody has asked
 * about. Which of them a pod is part of is found by its labels: each has an anchor, a label that all of its pods have.
 */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "schedule/census.h"

struct census_bucket {
    VECTOR(void *) items;
};

/* ---- Terms ---- */

static void add_label_selector(struct buffer *key, const struct label_selector *s)
{
    if (!s) {
        buffer_add_string(key, "-");
        return;
    }
    for (size_t i = 0; i < s->match_labels.count; i++) {
        buffer_add_string(key, s->match_labels.items[i].key);
        buffer_add_char(key, '=');
        buffer_add_string(key, s->match_labels.items[i].value);
        buffer_add_char(key, ',');
    }
    for (size_t i = 0; i < s->match_expressions.count; i++) {
        const struct label_selector_requirement *r = &s->match_expressions.items[i];
        buffer_printf(key, "%s %s (", r->key, r->operator);
        for (size_t v = 0; v < r->values.count; v++) {
            buffer_add_string(key, r->values.items[v]);
            buffer_add_char(key, ',');
        }
        buffer_add_string(key, "),");
    }
}

static const char *join(struct arena *arena, const char *key, const char *value)
{
    size_t n = strlen(key), m = strlen(value);
    char *out = arena_alloc(arena, n + m + 2);
    memcpy(out, key, n);
    out[n] = '=';
    memcpy(out + n + 1, value, m);
    return out;
}

static const char *anchor_of(struct arena *arena, const struct label_selector *s)
{
    if (s && s->match_labels.count)
        return join(arena, s->match_labels.items[0].key, s->match_labels.items[0].value);
    for (size_t i = 0; s && i < s->match_expressions.count; i++) {
        const struct label_selector_requirement *r = &s->match_expressions.items[i];
        if (strcmp(r->operator, "In") == 0 && r->values.count == 1)
            return join(arena, r->key, r->values.items[0]);
    }
    return "";
}

static const struct selector *read_selector(struct arena *arena, const struct label_selector *from)
{
    const struct selector *out = NULL;
    if (selector_from_label_selector(arena, from, &out, NULL) < 0)
        selector_from_label_selector(arena, NULL, &out, NULL);
    return out;
}

void pod_term_make(struct arena *arena, const struct label_selector *selector, const struct string_array *namespaces,
                   const struct label_selector *namespace_selector, const char *own_namespace, struct pod_term *out,
                   struct buffer *key)
{
    const char **names = arena_alloc(arena, ((namespaces ? namespaces->count : 0) + 1) * sizeof(*names));
    size_t count = 0;
    for (size_t i = 0; namespaces && i < namespaces->count; i++)
        names[count++] = namespaces->items[i];
    if (!count && !namespace_selector)
        names[count++] = own_namespace;
    *out = (struct pod_term){
        .namespaces = names,
        .namespace_count = count,
        .from = selector,
        .namespaces_from = namespace_selector,
        .anchor = anchor_of(arena, selector),
    };
    for (size_t i = 0; i < count; i++) {
        buffer_add_string(key, names[i]);
        buffer_add_char(key, ',');
    }
    if (namespace_selector) {
        buffer_add_char(key, '/');
        add_label_selector(key, namespace_selector);
    }
    buffer_add_char(key, '/');
    add_label_selector(key, selector);
    buffer_add_char(key, '\n');
}

void pod_term_compile(struct arena *arena, struct pod_term *term)
{
    term->selector = read_selector(arena, term->from);
    term->namespace_selector = term->namespaces_from ? read_selector(arena, term->namespaces_from) : NULL;
}

void pod_term_of(struct arena *arena, const struct pod_affinity_term *term, const char *own_namespace,
                 struct pod_term *out, struct buffer *key)
{
    pod_term_make(arena, term->label_selector, &term->namespaces, term->namespace_selector, own_namespace, out, key);
}

bool pod_term_selects(const struct census *census, const struct pod_term *term, const struct pod *pod)
{
    const char *namespace = pod->metadata.namespace ? pod->metadata.namespace : "";
    bool inside = false;
    for (size_t i = 0; !inside && i < term->namespace_count; i++)
        inside = strcmp(term->namespaces[i], namespace) == 0;
    if (!inside && term->namespace_selector) {
        const struct object *object = informer_get(census->namespaces, NULL, namespace);
        inside = object && selector_matches(term->namespace_selector, &object->meta->labels);
    }
    return inside && selector_matches(term->selector, &pod->metadata.labels);
}

static struct pod_term *copy_terms(struct arena *arena, const struct pod_term *terms, size_t count)
{
    struct pod_term *out = arena_alloc(arena, count * sizeof(*out));
    for (size_t i = 0; i < count; i++) {
        const struct pod_term *t = &terms[i];
        const char **names = arena_alloc(arena, t->namespace_count * sizeof(*names));
        for (size_t n = 0; n < t->namespace_count; n++)
            names[n] = arena_string(arena, t->namespaces[n]);
        out[i].namespaces = names;
        out[i].namespace_count = t->namespace_count;
        out[i].from = t->from ? api_copy(arena, &api_type_label_selector, t->from) : NULL;
        out[i].namespaces_from =
            t->namespaces_from ? api_copy(arena, &api_type_label_selector, t->namespaces_from) : NULL;
        out[i].anchor = anchor_of(arena, out[i].from);
        pod_term_compile(arena, &out[i]);
    }
    return out;
}

/* ---- The index ---- */

static void index_add(struct map *index, const char *anchor, void *item)
{
    struct census_bucket *bucket = map_get(index, anchor);
    if (!bucket) {
        bucket = mem_zero(1, sizeof(*bucket));
        map_set(index, anchor, bucket);
    }
    vector_push(&bucket->items, item);
}

static void index_remove(struct map *index, const char *anchor, const void *item)
{
    struct census_bucket *bucket = map_get(index, anchor);
    size_t i = 0;
    while (bucket->items.items[i] != item)
        i++;
    vector_remove(&bucket->items, i);
    if (!bucket->items.count) {
        vector_free(&bucket->items);
        free(map_remove(index, anchor));
    }
}

static void visit_bucket(const struct map *index, const char *anchor, void (*visit)(void *context, void *item),
                         void *context)
{
    const struct census_bucket *bucket = map_get(index, anchor);
    for (size_t i = 0; bucket && i < bucket->items.count; i++)
        visit(context, bucket->items.items[i]);
}

/* Labels are at most 317 and 63 bytes long. */
#define ANCHOR_MAX 384

static void index_find(const struct map *index, const struct string_map *labels,
                       void (*visit)(void *context, void *item), void *context)
{
    char anchor[ANCHOR_MAX];
    if (!index->count)
        return;
    visit_bucket(index, "", visit, context);
    for (size_t i = 0; i < labels->count; i++) {
        size_t n = strlen(labels->items[i].key), m = strlen(labels->items[i].value);
        if (n + m + 2 > sizeof(anchor))
            continue;
        memcpy(anchor, labels->items[i].key, n);
        anchor[n] = '=';
        memcpy(anchor + n + 1, labels->items[i].value, m + 1);
        visit_bucket(index, anchor, visit, context);
    }
}

/* ---- Topologies ---- */

static void number_domains(struct census *census, struct census_topology *t)
{
    map_free(&t->values);
    t->domains = 0;
    t->version++;
    t->stale = false;
    if (t->room < census->slots.count) {
        t->room = census->slots.count + census->slots.count / 2;
        t->of = mem_resize(t->of, t->room * sizeof(*t->of));
    }
    for (size_t i = 0; i < t->room; i++)
        t->of[i] = -1;
    for (size_t i = 0; i < census->slots.count; i++) {
        const struct node_info *info = census->slots.items[i];
        const char *value = info && info->object ? string_map_get(&info->object->meta->labels, t->key) : NULL;
        if (!value)
            continue;
        intptr_t number = (intptr_t)map_get(&t->values, value);
        if (!number) {
            number = (intptr_t)++t->domains;
            map_set(&t->values, value, (void *)number);
        }
        t->of[i] = (int32_t)number - 1;
    }
}

struct census_topology *census_topology(struct census *census, const char *key)
{
    struct census_topology *t = map_get(&census->topologies, key);
    if (!t) {
        t = mem_zero(1, sizeof(*t));
        t->key = mem_string(key);
        t->stale = true;
        map_set(&census->topologies, key, t);
    }
    if (t->stale)
        number_domains(census, t);
    return t;
}

void census_topologies_stale(struct census *census)
{
    for (struct map_slot *s = NULL; (s = map_next(&census->topologies, s));)
        ((struct census_topology *)s->value)->stale = true;
}

static void topology_free(struct census_topology *t)
{
    map_free(&t->values);
    free(t->of);
    free(t->key);
    free(t);
}

void census_topologies_sweep(struct census *census)
{
    if (census->topologies.count <= CENSUS_TOPOLOGIES_MAX)
        return;
    VECTOR(struct census_topology *) unused = {0};
    for (struct map_slot *s = NULL; (s = map_next(&census->topologies, s));)
        if (!((struct census_topology *)s->value)->sums)
            vector_push(&unused, s->value);
    for (size_t i = 0; i < unused.count; i++) {
        map_remove(&census->topologies, unused.items[i]->key);
        topology_free(unused.items[i]);
    }
    vector_free(&unused);
}

/* ---- Counts ---- */

static void count_add(struct census *census, struct census_count *count, int32_t slot, int sign)
{
    if ((size_t)slot >= count->room) {
        size_t room = census->slots.count + census->slots.count / 2;
        count->on = mem_resize(count->on, room * sizeof(*count->on));
        memset(count->on + count->room, 0, (room - count->room) * sizeof(*count->on));
        count->room = room;
    }
    count->on[slot] += sign;
    for (size_t i = 0; i < count->sums.count; i++) {
        struct census_sum *sum = count->sums.items[i];
        if (sum->topology->stale || sum->version != sum->topology->version) {
            sum->version = 0;
            continue;
        }
        int32_t domain = sum->topology->of[slot];
        if (domain >= 0) {
            sum->in[domain] += sign;
            sum->total += sign;
        }
    }
}

static void sum_up(const struct census_count *count, struct census_sum *sum)
{
    const struct census_topology *t = sum->topology;
    sum->in = mem_resize(sum->in, (t->domains + 1) * sizeof(*sum->in));
    memset(sum->in, 0, (t->domains + 1) * sizeof(*sum->in));
    sum->total = 0;
    sum->version = t->version;
    for (size_t i = 0; i < count->room && i < t->room; i++)
        if (t->of[i] >= 0) {
            sum->in[t->of[i]] += count->on[i];
            sum->total += count->on[i];
        }
}

const struct census_sum *census_sum(struct census_count *count, struct census_topology *topology)
{
    struct census_sum *sum = NULL;
    for (size_t i = 0; i < count->sums.count && !sum; i++)
        if (count->sums.items[i]->topology == topology)
            sum = count->sums.items[i];
    if (!sum) {
        sum = mem_zero(1, sizeof(*sum));
        sum->topology = topology;
        topology->sums++;
        vector_push(&count->sums, sum);
    }
    if (sum->version != topology->version)
        sum_up(count, sum);
    return sum;
}

static void count_free(struct census_count *count)
{
    for (size_t i = 0; i < count->sums.count; i++) {
        count->sums.items[i]->topology->sums--;
        free(count->sums.items[i]->in);
        free(count->sums.items[i]);
    }
    vector_free(&count->sums);
    free(count->on);
    *count = (struct census_count){0};
}

/* ---- Groups ---- */

static bool is_member(const struct census *census, const struct census_group *g, const struct pod *pod)
{
    bool member = !(g->living && pod->metadata.deletion_timestamp);
    for (size_t i = 0; member && i < g->term_count; i++)
        member = pod_term_selects(census, &g->terms[i], pod);
    return member;
}

static void count_members(struct census *census, struct census_group *g)
{
    g->stale = false;
    count_free(&g->count);
    for (struct map_slot *s = NULL; (s = map_next(&census->placed, s));) {
        const struct placed *p = s->value;
        if (!p->suspended && is_member(census, g, p->pod->value))
            count_add(census, &g->count, p->node->slot, 1);
    }
}

static void group_free(struct census *census, struct census_group *g)
{
    index_remove(&census->groups_by_anchor, g->terms[0].anchor, g);
    list_remove(&g->link);
    map_remove(&census->groups, g->key);
    count_free(&g->count);
    arena_free(g->arena);
    free(g->key);
    free(g);
}

struct census_group *census_group(struct census *census, const char *key, const struct pod_term *terms, size_t count,
                                  bool living)
{
    struct census_group *g = map_get(&census->groups, key);
    if (!g) {
        if (census->groups.count >= CENSUS_GROUPS_MAX)
            group_free(census, list_entry(census->recent.next, struct census_group, link));
        g = mem_zero(1, sizeof(*g));
        g->key = mem_string(key);
        g->arena = arena_new(0);
        g->terms = copy_terms(g->arena, terms, count);
        g->term_count = count;
        g->living = living;
        g->stale = true;
        list_init(&g->link);
        map_set(&census->groups, key, g);
        index_add(&census->groups_by_anchor, g->terms[0].anchor, g);
    }
    list_remove(&g->link);
    list_append(&census->recent, &g->link);
    if (g->stale)
        count_members(census, g);
    return g;
}

void census_namespace_changed(struct census *census)
{
    for (struct map_slot *s = NULL; (s = map_next(&census->groups, s));) {
        struct census_group *g = s->value;
        for (size_t i = 0; i < g->term_count; i++)
            g->stale |= g->terms[i].namespace_selector != NULL;
    }
}

/* ---- What pods carry ---- */

static void carry(struct census *census, struct placed *p, enum census_kind kind, int64_t weight,
                  const struct pod_affinity_term *term)
{
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_buffer struct buffer key = {0};
    struct pod_term made;
    buffer_printf(&key, "%d %lld %s ", (int)kind, (long long)weight, term->topology_key);
    pod_term_of(arena, term, p->pod->meta->namespace, &made, &key);
    struct census_carried *c = map_get(&census->carried, key.data);
    if (!c) {
        c = mem_zero(1, sizeof(*c));
        c->key = mem_string(key.data);
        c->arena = arena_new(0);
        c->kind = kind;
        c->weight = weight;
        c->topology_key = arena_string(c->arena, term->topology_key);
        c->term = *copy_terms(c->arena, &made, 1);
        map_set(&census->carried, c->key, c);
        index_add(&census->carried_by_anchor, c->term.anchor, c);
    }
    c->pods++;
    vector_push(&p->carries, c);
}

static void carry_preferences(struct census *census, struct placed *p,
                              const struct weighted_pod_affinity_term_array *terms, int sign)
{
    for (size_t i = 0; i < terms->count; i++)
        carry(census, p, CARRIES_PREFERENCE, (int64_t)sign * terms->items[i].weight,
              &terms->items[i].pod_affinity_term);
}

/* Upstream's hardPodAffinityWeight: what a required affinity is worth to pods that it selects. */
#define REQUIRED_AFFINITY_WEIGHT 1

void census_carry(struct census *census, struct placed *p)
{
    const struct affinity *a = ((const struct pod *)p->pod->value)->spec.affinity;
    if (a && a->pod_affinity) {
        const struct pod_affinity_term_array *required =
            &a->pod_affinity->required_during_scheduling_ignored_during_execution;
        for (size_t i = 0; i < required->count; i++)
            carry(census, p, CARRIES_PREFERENCE, REQUIRED_AFFINITY_WEIGHT, &required->items[i]);
        carry_preferences(census, p, &a->pod_affinity->preferred_during_scheduling_ignored_during_execution, 1);
    }
    if (a && a->pod_anti_affinity) {
        const struct pod_affinity_term_array *required =
            &a->pod_anti_affinity->required_during_scheduling_ignored_during_execution;
        for (size_t i = 0; i < required->count; i++)
            carry(census, p, CARRIES_ANTI_AFFINITY, 0, &required->items[i]);
        carry_preferences(census, p, &a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution, -1);
    }
}

static void carried_free(struct census *census, struct census_carried *c)
{
    index_remove(&census->carried_by_anchor, c->term.anchor, c);
    map_remove(&census->carried, c->key);
    count_free(&c->count);
    arena_free(c->arena);
    free(c->key);
    free(c);
}

void census_drop(struct census *census, struct placed *p)
{
    for (size_t i = 0; i < p->carries.count; i++)
        if (!--p->carries.items[i]->pods)
            carried_free(census, p->carries.items[i]);
    p->carries.count = 0;
}

struct carried_search {
    struct census *census;
    const struct pod *pod;
    void (*visit)(void *context, struct census_carried *carried);
    void *context;
};

static void look_at_carried(void *context, void *item)
{
    const struct carried_search *search = context;
    struct census_carried *c = item;
    if (pod_term_selects(search->census, &c->term, search->pod))
        search->visit(search->context, c);
}

void census_carried_for(struct census *census, const struct pod *pod,
                        void (*visit)(void *context, struct census_carried *carried), void *context)
{
    struct carried_search search = {census, pod, visit, context};
    index_find(&census->carried_by_anchor, &pod->metadata.labels, look_at_carried, &search);
}

/* ---- A pod's part in all of it ---- */

struct counting {
    struct census *census;
    const struct placed *placed;
    int sign;
};

static void count_in_group(void *context, void *item)
{
    const struct counting *c = context;
    struct census_group *g = item;
    if (!g->stale && is_member(c->census, g, c->placed->pod->value))
        count_add(c->census, &g->count, c->placed->node->slot, c->sign);
}

void census_count_pod(struct census *census, struct placed *p, int sign)
{
    struct counting counting = {census, p, sign};
    for (size_t i = 0; i < p->carries.count; i++)
        count_add(census, &p->carries.items[i]->count, p->node->slot, sign);
    index_find(&census->groups_by_anchor, &p->pod->meta->labels, count_in_group, &counting);
}

static void buckets_free(struct map *index)
{
    for (struct map_slot *s = NULL; (s = map_next(index, s));) {
        vector_free(&((struct census_bucket *)s->value)->items);
        free(s->value);
    }
    map_free(index);
}

void census_count_free(struct census *census)
{
    while (!list_empty(&census->recent))
        group_free(census, list_entry(census->recent.next, struct census_group, link));
    for (struct map_slot *s = NULL; (s = map_next(&census->topologies, s));)
        topology_free(s->value);
    map_free(&census->topologies);
    map_free(&census->groups);
    map_free(&census->carried);
    buckets_free(&census->groups_by_anchor);
    buckets_free(&census->carried_by_anchor);
}

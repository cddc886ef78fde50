#include "network/forget.h"

#include "network/conntrack.h"

#define FAMILIES 2

static int family_at(size_t i)
{
    return i ? AF_INET6 : AF_INET;
}

static struct dataplane_withdrawal withdrawal_of(const struct conntrack_flow *flow)
{
    return (struct dataplane_withdrawal){.protocol = flow->protocol,
                                         .service_address = flow->destination,
                                         .service_port = flow->destination_port,
                                         .endpoint_address = flow->endpoint,
                                         .endpoint_port = flow->endpoint_port};
}

/* ---- Endpoints that have been withdrawn ---- */

struct withdrawn {
    const struct dataplane_withdrawal *list;
    size_t count;
};

static bool matches(const struct dataplane_withdrawal *w, const struct dataplane_withdrawal *flow)
{
    return w->protocol == flow->protocol && w->service_port == flow->service_port &&
           ip_address_equal(&w->endpoint_address, &flow->endpoint_address) && w->endpoint_port == flow->endpoint_port &&
           (!w->service_address.family || ip_address_equal(&w->service_address, &flow->service_address));
}

static bool is_withdrawn(void *context, const struct dataplane_withdrawal *flow)
{
    const struct withdrawn *withdrawn = context;
    for (size_t i = 0; i < withdrawn->count; i++) {
        const struct dataplane_withdrawal *w = &withdrawn->list[i];
        if ((flow->affinity ? w->affinity : w->flows) && matches(w, flow))
            return true;
    }
    return false;
}

static bool is_withdrawn_flow(void *context, const struct conntrack_flow *flow)
{
    struct dataplane_withdrawal asked = withdrawal_of(flow);
    return flow->protocol == IPPROTO_UDP && is_withdrawn(context, &asked);
}

/* Clients first: a flow that starts anew must not be led back. */
int forget_withdrawn(const struct forgetting *f, const struct dataplane_withdrawal *list, size_t count,
                     struct error *err)
{
    struct withdrawn withdrawn = {list, count};
    bool affinity[FAMILIES] = {0}, flows[FAMILIES] = {0};
    for (size_t i = 0; i < count; i++) {
        bool v6 = list[i].endpoint_address.family == AF_INET6;
        affinity[v6] |= list[i].affinity;
        flows[v6] |= list[i].flows && list[i].protocol == IPPROTO_UDP;
    }
    for (size_t i = 0; i < FAMILIES; i++) {
        if (!f->plans[i])
            continue;
        if (affinity[i] && nft_forget_clients(f->nft, family_at(i), f->table, is_withdrawn, &withdrawn, err) < 0)
            return -1;
        if (flows[i] &&
            conntrack_delete(nft_netlink(f->nft), family_at(i), true, is_withdrawn_flow, &withdrawn, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- What neither plans nor policies lead any more ---- */

static int delete_flows(const struct forgetting *f, bool translated, conntrack_judge judge, struct error *err)
{
    for (size_t i = 0; i < FAMILIES; i++)
        if (f->plans[i] && conntrack_delete(nft_netlink(f->nft), family_at(i), translated, judge, (void *)f, err) < 0)
            return -1;
    return 0;
}

static bool is_stale_flow(void *context, const struct conntrack_flow *flow)
{
    const struct forgetting *f = context;
    struct dataplane_plan *plan = f->plans[flow->endpoint.family == AF_INET6];
    struct dataplane_withdrawal asked = withdrawal_of(flow);
    return flow->protocol == IPPROTO_UDP && plan && dataplane_plan_is_stale(plan, &asked);
}

int forget_stale(const struct forgetting *f, struct error *err)
{
    return delete_flows(f, true, is_stale_flow, err);
}

/* ---- What began too early ---- */

/* One that goes to another's port of the same number as a node port is deleted for nothing: its next packet begins it
 * anew. Those that the node speaks for are left alone, unless they go to an address of ours: the far end knows them by
 * the port that they have. */
static bool is_early_flow(void *context, const struct conntrack_flow *flow)
{
    struct dataplane_plan *plan = context;
    struct dataplane_withdrawal asked = withdrawal_of(flow);
    bool translated =
        !ip_address_equal(&flow->destination, &flow->endpoint) || flow->destination_port != flow->endpoint_port;
    bool spoken_for = !ip_address_equal(&flow->source, &flow->answered) || flow->source_port != flow->answered_port;
    return flow->protocol == IPPROTO_UDP && !translated && dataplane_plan_enters(plan, &asked, !spoken_for);
}

int forget_early(const struct forgetting *f, int family, struct error *err)
{
    struct dataplane_plan *plan = f->plans[family == AF_INET6];
    return plan && conntrack_delete(nft_netlink(f->nft), family, false, is_early_flow, plan, err) < 0 ? -1 : 0;
}

/* ---- What policies forbid ---- */

/* A flow of the node's own is judged like others and may be deleted for nothing: its next packet begins it anew. */
static bool is_forbidden_flow(void *context, const struct conntrack_flow *flow)
{
    const struct forgetting *f = context;
    struct policy_flow judged = {.protocol = flow->protocol,
                                 .source = flow->source,
                                 .destination = flow->endpoint,
                                 .destination_port = flow->endpoint_port,
                                 .asked = flow->destination,
                                 .asked_port = flow->destination_port};
    return flow->protocol == IPPROTO_UDP && !policy_table_allows(f->policies, &judged);
}

int forget_forbidden(const struct forgetting *f, struct error *err)
{
    return delete_flows(f, false, is_forbidden_flow, err);
}

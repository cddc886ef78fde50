/* What libnftables made of a script, as messages that make the same elsewhere. The kernel lists an object in the words
 * in which it takes one; what is only its own (handles, counters) is left out.
 *
 * The order is that of what refers to what: tables, sets, chains, elements (verdicts name chains), rules. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "network/namespace.h"
#include "network/nft_batch.h"

struct kind {
    uint16_t list; /* the message that asks for all of the kind */
    uint16_t add;  /* the one that comes for each, and makes one */
    uint16_t flags;
    uint16_t attributes[14]; /* what makes it; 0 ends */
};

static const struct kind tables = {NFT_MSG_GETTABLE, NFT_MSG_NEWTABLE, NLM_F_CREATE, {NFTA_TABLE_NAME}};
static const struct kind sets = {NFT_MSG_GETSET,
                                 NFT_MSG_NEWSET,
                                 NLM_F_CREATE,
                                 {NFTA_SET_TABLE, NFTA_SET_NAME, NFTA_SET_FLAGS, NFTA_SET_KEY_TYPE, NFTA_SET_KEY_LEN,
                                  NFTA_SET_DATA_TYPE, NFTA_SET_DATA_LEN, NFTA_SET_POLICY, NFTA_SET_DESC,
                                  NFTA_SET_TIMEOUT, NFTA_SET_GC_INTERVAL, NFTA_SET_USERDATA}};
static const struct kind chains = {
    NFT_MSG_GETCHAIN,
    NFT_MSG_NEWCHAIN,
    NLM_F_CREATE,
    {NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_TYPE, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_USERDATA}};
static const struct kind rules = {NFT_MSG_GETRULE,
                                  NFT_MSG_NEWRULE,
                                  NLM_F_CREATE | NLM_F_APPEND,
                                  {NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_USERDATA}};

/* A set whose elements are to follow. */
struct set {
    int family;
    char *table, *name;
    bool sorted; /* of ranges, each with its two ends in a row */
};

struct copying {
    struct nft *from;
    struct netlink_batch *to;
    const struct kind *kind;
    VECTOR(struct set) sets;
};

static const struct nlattr *attribute_of(const struct nlmsghdr *message, uint16_t type)
{
    return netlink_find(message, sizeof(struct nfgenmsg), type);
}

static char *text_of(const struct nlmsghdr *message, uint16_t type)
{
    char text[NFT_NAME_MAXLEN];
    netlink_text(attribute_of(message, type), text, sizeof(text));
    return mem_string(text);
}

/* A new set has a number in its transaction. */
static void note_set(struct copying *copying, int family, const struct nlmsghdr *message)
{
    uint32_t flags = ntohl(netlink_u32(attribute_of(message, NFTA_SET_FLAGS)));
    struct set set = {.family = family,
                      .table = text_of(message, NFTA_SET_TABLE),
                      .name = text_of(message, NFTA_SET_NAME),
                      .sorted = flags & NFT_SET_INTERVAL && !(flags & NFT_SET_CONCAT)};
    vector_push(&copying->sets, set);
    netlink_add_u32(copying->to, NFTA_SET_ID, htonl((uint32_t)copying->sets.count));
}

static void copy_object(void *context, const struct nlmsghdr *message)
{
    struct copying *copying = context;
    const struct kind *kind = copying->kind;
    const struct nfgenmsg *header = NLMSG_DATA(message);
    if (message->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | kind->add))
        return;
    nft_batch_message(copying->to, header->nfgen_family, kind->add, kind->flags);
    for (const uint16_t *type = kind->attributes; *type; type++)
        netlink_copy(copying->to, attribute_of(message, *type));
    if (kind == &sets)
        note_set(copying, header->nfgen_family, message);
}

static int copy_all(struct copying *copying, const struct kind *kind, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch question = {0};
    copying->kind = kind;
    nft_batch_message(&question, NFPROTO_UNSPEC, kind->list, NLM_F_DUMP);
    return netlink_query(nft_netlink(copying->from), &question, copy_object, copying, err);
}

/* ---- elements ---- */

struct found {
    VECTOR(struct nlattr *) items; /* copies of what the kernel listed */
};

static void find_elements(void *context, const struct nlmsghdr *message)
{
    struct found *found = context;
    const struct nlattr *list = attribute_of(message, NFTA_SET_ELEM_LIST_ELEMENTS);
    for (const struct nlattr *e = NULL; (e = netlink_next_in(list, e));) {
        struct nlattr *copy = mem_alloc(e->nla_len);
        memcpy(copy, e, e->nla_len);
        vector_push(&found->items, copy);
    }
}

static bool ends_range(const struct nlattr *element)
{
    return ntohl(netlink_u32(netlink_find_in(element, NFTA_SET_ELEM_FLAGS))) & NFT_SET_ELEM_INTERVAL_END;
}

/* By address, and where one range ends as the next begins, the end first. */
static int compare_ends(const void *left, const void *right)
{
    const struct nlattr *a = *(struct nlattr *const *)left, *b = *(struct nlattr *const *)right;
    const struct nlattr *p = netlink_find_in(netlink_find_in(a, NFTA_SET_ELEM_KEY), NFTA_DATA_VALUE);
    const struct nlattr *q = netlink_find_in(netlink_find_in(b, NFTA_SET_ELEM_KEY), NFTA_DATA_VALUE);
    int order = p && q ? memcmp(netlink_data(p), netlink_data(q), netlink_size(p)) : 0;
    return order ? order : ends_range(b) - ends_range(a);
}

static void copy_elements(struct copying *copying, const struct set *set, struct found *found)
{
    struct nft_elements list = {.batch = copying->to, .family = set->family, .table = set->table, .set = set->name};
    static const uint16_t types[] = {NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_KEY_END, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_FLAGS};
    if (set->sorted && found->items.count)
        qsort(found->items.items, found->items.count, sizeof(found->items.items[0]), compare_ends);
    for (size_t i = 0; i < found->items.count; i++) {
        size_t element = nft_elements_begin(&list);
        for (size_t k = 0; k < ARRAY_COUNT(types); k++)
            netlink_copy(copying->to, netlink_find_in(found->items.items[i], types[k]));
        nft_elements_end(&list, element);
    }
    nft_elements_close(&list);
}

static int copy_elements_of(struct copying *copying, const struct set *set, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch question = {0};
    struct found found = {0};
    nft_batch_message(&question, set->family, NFT_MSG_GETSETELEM, NLM_F_DUMP);
    netlink_add_string(&question, NFTA_SET_ELEM_LIST_TABLE, set->table);
    netlink_add_string(&question, NFTA_SET_ELEM_LIST_SET, set->name);
    int result = netlink_query(nft_netlink(copying->from), &question, find_elements, &found, err);
    if (result == 0)
        copy_elements(copying, set, &found);
    for (size_t i = 0; i < found.items.count; i++)
        free(found.items.items[i]);
    vector_free(&found.items);
    return result;
}

/* ---- the whole ---- */

static int copy_tables(struct nft *from, struct netlink_batch *to, struct error *err)
{
    struct copying copying = {.from = from, .to = to};
    int result = 0;
    if (copy_all(&copying, &tables, err) < 0 || copy_all(&copying, &sets, err) < 0 ||
        copy_all(&copying, &chains, err) < 0)
        result = -1;
    for (size_t i = 0; result == 0 && i < copying.sets.count; i++)
        result = copy_elements_of(&copying, &copying.sets.items[i], err);
    if (result == 0)
        result = copy_all(&copying, &rules, err);
    for (size_t i = 0; i < copying.sets.count; i++) {
        free(copying.sets.items[i].table);
        free(copying.sets.items[i].name);
    }
    vector_free(&copying.sets);
    return result < 0 ? error_wrap(err, "nftables: read rules back") : 0;
}

int nft_batch_frame(struct netlink_batch *batch, const char *script, struct error *err)
{
    struct nft *nft = NULL;
    int previous;
    if (network_namespace_enter_new(&previous, err) < 0)
        return -1;
    int result = nft_open(&nft, err);
    if (result == 0)
        result = nft_run(nft, script, err);
    if (result == 0)
        result = copy_tables(nft, batch, err);
    nft_close(nft);
    network_namespace_leave(&previous);
    return result;
}

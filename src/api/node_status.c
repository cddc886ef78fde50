#include "api/node_status.h"

#include "base/text.h"

bool node_is_ready(const struct node *node)
{
    for (size_t i = 0; i < node->status.conditions.count; i++)
        if (text_equal(node->status.conditions.items[i].type, "Ready"))
            return text_equal(node->status.conditions.items[i].status, "True");
    return false;
}

const char *node_address(const struct node *node, const char *type)
{
    for (size_t i = 0; i < node->status.addresses.count; i++)
        if (text_equal(node->status.addresses.items[i].type, type))
            return node->status.addresses.items[i].address;
    return NULL;
}

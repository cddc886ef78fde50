/* An intrusive doubly linked list. A head that is all zero bytes is not valid: list_init it. */
#ifndef CORACLE_BASE_LIST_H
#define CORACLE_BASE_LIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *previous;
};

static inline void list_init(struct list *head)
{
    head->next = head->previous = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_append(struct list *head, struct list *node)
{
    node->previous = head->previous;
    node->next = head;
    head->previous->next = node;
    head->previous = node;
}

/* Unlinks node; it may be unlinked again without harm. */
static inline void list_remove(struct list *node)
{
    node->previous->next = node->next;
    node->next->previous = node->previous;
    node->next = node->previous = node;
}

/* Unlinks the first node of a list that is not empty: how a list is emptied whose entries are released. */
static inline struct list *list_take(struct list *head)
{
    struct list *first = head->next;
    assert(first != head);
    head->next = first->next;
    first->next->previous = head;
    first->next = first->previous = first;
    return first;
}

#define list_entry(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

/* The body may remove the present entry, and no other. */
#define list_for_each(head, entry, member)                                                                             \
    for (struct list *at_ = (head)->next, *next_ = at_->next;                                                          \
         at_ != (head) && ((entry) = list_entry(at_, __typeof__(*(entry)), member), 1);                                \
         at_ = next_, next_ = at_->next)

#endif

#include "node/drain.h"

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void drain_begin(struct drain *d, int64_t now, int64_t grace, bool reachable)
{
    *d = (struct drain){.reachable = reachable, .grace_end = now + grace};
    d->due = now + earlier(grace / 2, DRAIN_WITHDRAW_MAX);
}

void drain_confirmed(struct drain *d, int64_t now)
{
    if (d->phase != DRAIN_WITHDRAWING)
        return;
    if (!d->reachable) {
        d->phase = DRAIN_OVER;
        return;
    }
    d->phase = DRAIN_SETTLING;
    d->end = now + earlier((d->grace_end - now) / 2, DRAIN_SETTLE_MAX);
    d->due = earlier(now + DRAIN_SETTLE_TIME, d->end);
}

bool drain_due(struct drain *d)
{
    /* Clients keep coming where nothing was confirmed: there is nothing to wait for. */
    if (d->phase == DRAIN_WITHDRAWING)
        d->phase = DRAIN_OVER;
    return d->phase == DRAIN_SETTLING;
}

void drain_looked(struct drain *d, int64_t now, uint64_t arriving)
{
    if (!arriving || now >= d->end)
        d->phase = DRAIN_OVER;
    else
        d->due = earlier(now + DRAIN_SETTLE_LOOK, d->end);
}

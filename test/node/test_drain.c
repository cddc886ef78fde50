/* When a pod that ends may be signalled, in simulated time: how long a data plane and the clients are waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "node/drain.h"

#define NEVER INT64_MAX
#define START (1000 * SECOND)

/* One history: when the data plane confirms, and until when clients are arriving, after the beginning. */
struct history {
    int64_t grace, confirmed, arriving_until;
    bool unreachable;
};

/* What became of it. */
struct outcome {
    int64_t over; /* after the beginning */
    size_t looks;
};

static struct outcome play(const struct history *h)
{
    struct outcome outcome = {0};
    struct drain d;
    int64_t now = START, confirm = h->confirmed == NEVER ? NEVER : START + h->confirmed;
    drain_begin(&d, now, h->grace, !h->unreachable);
    while (d.phase != DRAIN_OVER) {
        int64_t due = d.due;
        assert_true(due >= now && outcome.looks < 10000);
        if (confirm <= due) {
            now = confirm;
            confirm = NEVER;
            drain_confirmed(&d, now);
            continue;
        }
        now = due;
        if (!drain_due(&d))
            continue;
        outcome.looks++;
        drain_looked(&d, now, now < START + h->arriving_until);
    }
    outcome.over = now - START;
    return outcome;
}

static void nobody_is_waited_for_longer_than_the_bounds(void **state)
{
    static const struct {
        const char *what;
        struct history history;
        int64_t over, later; /* no sooner than the one, and so much later at most */
        bool looks;
    } cases[] = {
        {"nobody is arriving", {30 * SECOND, 7 * MILLISECOND, 0}, 27 * MILLISECOND, 0, true},
        {"confirmed at once", {30 * SECOND, 0, 0}, 20 * MILLISECOND, 0, true},
        {"clients are let in slowly", {30 * SECOND, 0, 300 * MILLISECOND}, 300 * MILLISECOND, 5 * MILLISECOND, true},
        {"clients are never let in", {30 * SECOND, 0, NEVER - START}, SECOND, 0, true},
        {"never, and the time is short", {SECOND, 100 * MILLISECOND, NEVER - START}, 550 * MILLISECOND, 0, true},
        {"no confirmation", {30 * SECOND, NEVER, 0}, 10 * SECOND, 0, false},
        {"no confirmation, and the time is short", {SECOND, NEVER, 0}, 500 * MILLISECOND, 0, false},
        {"a late confirmation", {30 * SECOND, 9 * SECOND, 0}, 9 * SECOND + 20 * MILLISECOND, 0, true},
        {"no time at all", {0, NEVER, 0}, 0, 0, false},
        {"hardly any time", {20 * MILLISECOND, 4 * MILLISECOND, NEVER - START}, 12 * MILLISECOND, 0, true},
        {"it never had an address", {30 * SECOND, 3 * MILLISECOND, 0, true}, 3 * MILLISECOND, 0, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct outcome outcome = play(&cases[i].history);
        bool in_time = outcome.over >= cases[i].over && outcome.over <= cases[i].over + cases[i].later;
        if (!in_time || (outcome.looks > 0) != cases[i].looks)
            fail_msg("%s: over after %lld us and %zu looks", cases[i].what, (long long)outcome.over, outcome.looks);
    }
}

static void a_confirmation_counts_once(void **state)
{
    struct drain d;
    drain_begin(&d, START, 30 * SECOND, true);
    drain_confirmed(&d, START);
    int64_t due = d.due, end = d.end;
    drain_confirmed(&d, START + 10 * MILLISECOND);
    assert_int_equal(d.due, due);
    assert_int_equal(d.end, end);
    assert_true(drain_due(&d));
    drain_looked(&d, due, 0);
    assert_int_equal(d.phase, DRAIN_OVER);
    drain_confirmed(&d, due);
    assert_false(drain_due(&d));
}

static void a_confirmation_that_comes_too_late_changes_nothing(void **state)
{
    struct drain d;
    drain_begin(&d, START, 4 * SECOND, true);
    assert_int_equal(d.due, START + 2 * SECOND);
    assert_false(drain_due(&d));
    drain_confirmed(&d, d.due);
    assert_int_equal(d.phase, DRAIN_OVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_waited_for_longer_than_the_bounds),
        cmocka_unit_test(a_confirmation_counts_once),
        cmocka_unit_test(a_confirmation_that_comes_too_late_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Schedules of CronJobs: what the parser that upstream uses (robfig/cron, standard form) accepts, with its messages,
 * and its answers, also around the hours that daylight saving skips and repeats.
 *
 *   minute hour day-of-month month day-of-week     * ? N N-M LIST,LIST, each with /STEP; jan-dec, sun-sat; Sunday is 0
 *   @yearly @annually @monthly @weekly @daily @midnight @hourly @every DURATION
 *   TZ=NAME or CRON_TZ=NAME in front (which validation refuses)
 *
 * A time matches when minute, hour and month do, and the day: both day fields if one of them is * or ?, else either. */
#ifndef CORACLE_API_CRON_H
#define CORACLE_API_CRON_H

#include <stdint.h>

#include "base/arena.h"
#include "base/timezone.h"

struct cron_schedule {
    const struct timezone_data *zone;
    int64_t every;                              /* microseconds; 0: by the fields */
    uint64_t minute, hour, day, month, weekday; /* bits; the highest: the field is a star */
};

/* In this zone, unless the text names one. Returns NULL, or what is wrong, in the arena. */
const char *cron_parse(struct arena *arena, const char *text, const struct timezone_data *zone,
                       struct cron_schedule *out);
/* The first time after an instant (microseconds since the epoch); 0: none within five years. */
int64_t cron_next(const struct cron_schedule *schedule, int64_t after);

#endif

/* Time zones of the system's tz database (Debian's tzdata), as TZif files (RFC 9636) hold them. A zone is read once and
 * kept until the program ends; a second question for it touches no file. Belongs to one thread. */
#ifndef CORACLE_BASE_TIMEZONE_H
#define CORACLE_BASE_TIMEZONE_H

#include <stddef.h>
#include <stdint.h>

/* Larger files are refused. */
#define TIMEZONE_FILE_MAX (256 * 1024)
/* Zones that are kept; more are refused. There are some 600. */
#define TIMEZONE_COUNT_MAX 2048

struct timezone_data;

/* By name, such as "Europe/Berlin"; "" and "UTC" are always there, "Local" is the system's own. NULL: there is none of
 * this name. Names that could lead out of the database are refused. Not to be freed. */
const struct timezone_data *timezone_find(const char *name);

/* Seconds to add to UTC at an instant (seconds since the epoch). *from and *until (may be NULL) get the span of time
 * for which that is so. */
int32_t timezone_offset(const struct timezone_data *zone, int64_t at, int64_t *from, int64_t *until);

/* Reads the content of a TZif file; NULL: it is none. For timezone_free. */
struct timezone_data *timezone_parse(const void *data, size_t size);
void timezone_free(struct timezone_data *zone);

/* A date and time of day in a zone. */
struct civil_time {
    int64_t year;
    int month, day;           /* from 1 */
    int hour, minute, second; /* from 0 */
    int weekday;              /* Sunday: 0 */
};

struct civil_time civil_from_instant(const struct timezone_data *zone, int64_t at);
/* The instant of a date and time, each part of which may be out of its range (month 13 is January of the next year). A
 * time that the zone skips or has twice is read with the offset before or after the change, as Go's time.Date does. */
int64_t civil_to_instant(const struct timezone_data *zone, int64_t year, int64_t month, int64_t day, int64_t hour,
                         int64_t minute, int64_t second);

#endif

/* Instants and durations, both as microseconds in an int64_t. An instant counts from the Unix epoch;
 * 0 means "not set". Nothing here reads a clock: the time is handed in (see base/env.h). */
#ifndef CORACLE_BASE_TIMESTAMP_H
#define CORACLE_BASE_TIMESTAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MILLISECOND INT64_C(1000)
#define SECOND (1000 * MILLISECOND)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

/* What RFC 3339 can tell: from 0000-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z. No instant beyond either is
 * stored: its text could not be read again. */
#define TIME_MIN (INT64_C(-62167219200) * SECOND)
#define TIME_MAX (INT64_C(253402300800) * SECOND - 1)

/* The longest span that a number of seconds of the API stands for, as Go's time.Duration has it: 292 years. Such a span
 * added to any instant above stays far from the limits of int64_t. */
#define DURATION_SECONDS_MAX INT64_C(9223372036)

/* Room for any text that this header makes, with its NUL. */
#define TIME_TEXT_MAX 40

/* "2026-01-02T15:04:05Z", as metav1.Time is written. Returns the length. */
size_t time_format(int64_t instant, char out[TIME_TEXT_MAX]);
/* "2026-01-02T15:04:05.000000Z", as metav1.MicroTime is written. */
size_t time_format_micro(int64_t instant, char out[TIME_TEXT_MAX]);
/* "2026-01-02T15:04:05.000000000Z", as log lines and `kubectl logs --timestamps` carry it. */
size_t time_format_nano(int64_t instant, char out[TIME_TEXT_MAX]);
/* Reads RFC 3339 with any fraction and offset. Returns 0, or -1 when the text is not one. */
int time_parse(const char *text, int64_t *instant);
/* Whether the instant can be written as RFC 3339, and read again. */
bool time_is_writable(int64_t instant);
/* Seconds that a user chose, at most DURATION_SECONDS_MAX either way, as a duration. */
int64_t duration_of_seconds(int64_t seconds);
/* As Go prints a time.Duration: "1m0s", "1.5s", "10s", "100ms". */
size_t duration_format(int64_t duration, char out[TIME_TEXT_MAX]);

#endif

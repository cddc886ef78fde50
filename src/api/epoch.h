/* Instants with a meaning of their own in Go, of which an int64_t of microseconds has another (base/timestamp.h). */
#ifndef CORACLE_API_EPOCH_H
#define CORACLE_API_EPOCH_H

#include <stdint.h>

/* 1970-01-01T00:00:00Z as a metav1.Time that is set: a microsecond later, which whole seconds do not show. Both codecs
 * read the epoch as this. Upstream tells its zero time, the year 1, from the epoch; MicroTime has no such stand-in. */
#define TIME_EPOCH INT64_C(1)

/* 0001-01-01T00:00:00Z, Go's zero time, which upstream writes as null. Both codecs read it as not set. */
#define TIME_GO_ZERO (INT64_C(-62135596800) * 1000000)

#endif

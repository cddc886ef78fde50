/* Answers of other servers, kept for as long as they may be, at most DNS_CACHE_SECONDS_MAX. Bounded in number and in
 * bytes; the one used longest ago makes room. Not for concurrent use. */
#ifndef CORACLE_NETWORK_DNS_CACHE_H
#define CORACLE_NETWORK_DNS_CACHE_H

#include <stddef.h>
#include <stdint.h>

#define DNS_CACHE_ENTRIES_MAX 4096
#define DNS_CACHE_BYTES_MAX (4 << 20)
#define DNS_CACHE_SECONDS_MAX 30

struct dns_cache;

struct dns_cache *dns_cache_new(void);
void dns_cache_free(struct dns_cache *cache);
/* Copies the message; `now` in microseconds, on a clock that never goes back. */
void dns_cache_put(struct dns_cache *cache, const char *key, const uint8_t *data, size_t size, uint32_t seconds,
                   int64_t now);
/* The message, with its age in seconds, until the next call; NULL if there is none. */
const uint8_t *dns_cache_get(struct dns_cache *cache, const char *key, int64_t now, size_t *size, uint32_t *age);

#endif

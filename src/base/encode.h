/* Base64 (RFC 4648, strict when reading) and hexadecimal. */
#ifndef CORACLE_BASE_ENCODE_H
#define CORACLE_BASE_ENCODE_H

#include <stddef.h>
#include <sys/types.h>

/* Characters that `size` bytes take in base64, without a NUL. */
#define BASE64_SIZE(size) (((size) + 2) / 3 * 4)

/* Writes BASE64_SIZE(size) characters, no NUL. */
void base64_encode(const void *data, size_t size, char *out);
/* Reads n characters, skipping CR and LF as Go does; writes at most n / 4 * 3 bytes. Returns how many, or -1
 * when the text is not base64. */
ssize_t base64_decode(const char *text, size_t n, unsigned char *out);
/* The alphabet of URLs, without padding, as JSON Web Tokens have it (RFC 4648, section 5). Encoding writes
 * BASE64URL_SIZE(size) characters, no NUL; decoding writes at most n / 4 * 3 + 2 bytes and returns how many, or -1:
 * also for bits that no byte needs. */
#define BASE64URL_SIZE(size) (((size) * 4 + 2) / 3)
void base64url_encode(const void *data, size_t size, char *out);
ssize_t base64url_decode(const char *text, size_t n, unsigned char *out);
/* Lower-case; writes 2 * size characters and a NUL. */
void hex_encode(const void *data, size_t size, char *out);
/* Of one digit, of either case; -1: it is none. */
int hex_value(int c);

#endif

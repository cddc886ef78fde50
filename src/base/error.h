/* The error convention: every function that can fail takes `struct error *err` last and returns 0, or -1
 * with err filled. Callers add context on the way up. err may be NULL when the caller only needs to know
 * that it failed. An error is a value: it owns nothing and needs no release.
 *
 *     if (file_read(path, limit, &data, err) < 0)
 *         return error_wrap(err, "read the cluster's CA");
 */
#ifndef CORACLE_BASE_ERROR_H
#define CORACLE_BASE_ERROR_H

/* A longer text is cut. */
#define ERROR_TEXT_MAX 1024

struct error {
    int code; /* an errno value; 0 = no error */
    char text[ERROR_TEXT_MAX];
};

/* Fills err and returns -1. `code` is an errno value, its name is not added to the text. */
int error_set(struct error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* As error_set with code errno, ": " and strerror(errno) appended. */
int error_errno(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "context: " before what err says already. Returns -1. */
int error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The compiler does not see into these functions: this tells it that they return -1 and nothing else, so that it does
 * not warn of what would be uninitialized if they returned 0. */
static inline int error_result(int result)
{
    (void)result;
    return -1;
}
#define error_set(...) error_result(error_set(__VA_ARGS__))
#define error_errno(...) error_result(error_errno(__VA_ARGS__))
#define error_wrap(...) error_result(error_wrap(__VA_ARGS__))

#endif

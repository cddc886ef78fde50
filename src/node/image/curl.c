/* libcurl, loaded when it is first needed. It brings some thirty libraries into memory, for which a node has a use only
 * while it pulls an image from a registry. The functions here have libcurl's names and prototypes, so that callers are
 * written as always; each passes its arguments on. */
#include "node/image/curl.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

/* Of libcurl's binary interface, which has not changed since 2006. */
#define LIBRARY "libcurl.so.4"

/* A variable argument of libcurl is a long, a pointer or a curl_off_t: one register each. */
_Static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *), "needs a machine of 64 bits");

#undef curl_easy_getinfo
#undef curl_easy_setopt

#define FUNCTIONS(X)                                                                                                   \
    X(easy_cleanup)                                                                                                    \
    X(easy_getinfo)                                                                                                    \
    X(easy_init)                                                                                                       \
    X(easy_perform)                                                                                                    \
    X(easy_reset)                                                                                                      \
    X(easy_setopt)                                                                                                     \
    X(easy_strerror)                                                                                                   \
    X(free)                                                                                                            \
    X(global_init)                                                                                                     \
    X(slist_append)                                                                                                    \
    X(slist_free_all)

#define MEMBER(function) __typeof__ (&curl_##function)(function);
static struct {
    bool loaded;
    char problem[ERROR_TEXT_MAX];
    FUNCTIONS(MEMBER)
} library;

static bool find(void *handle, const char *name, void *function)
{
    *(void **)function = dlsym(handle, name);
    return *(void **)function;
}

static void load(void)
{
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    library.loaded = handle;
#define FIND(function) library.loaded = library.loaded && find(handle, "curl_" #function, &library.function);
    FUNCTIONS(FIND)
    if (library.loaded)
        library.loaded = library.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    else
        snprintf(library.problem, sizeof(library.problem), "%s", dlerror());
}

int image_curl_load(struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return library.loaded ? 0 : error_set(err, ENOENT, "images cannot be pulled without libcurl: %s", library.problem);
}

CURL *curl_easy_init(void)
{
    return library.easy_init();
}

void curl_easy_cleanup(CURL *curl)
{
    library.easy_cleanup(curl);
}

CURLcode curl_easy_getinfo(CURL *curl, CURLINFO info, ...)
{
    va_list arguments;
    va_start(arguments, info);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return library.easy_getinfo(curl, info, argument);
}

CURLcode curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
    va_list arguments;
    va_start(arguments, option);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return library.easy_setopt(curl, option, argument);
}

CURLcode curl_easy_perform(CURL *curl)
{
    return library.easy_perform(curl);
}

void curl_easy_reset(CURL *curl)
{
    library.easy_reset(curl);
}

const char *curl_easy_strerror(CURLcode code)
{
    return library.easy_strerror(code);
}

void curl_free(void *pointer)
{
    library.free(pointer);
}

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text)
{
    return library.slist_append(list, text);
}

void curl_slist_free_all(struct curl_slist *list)
{
    library.slist_free_all(list);
}

/* A clock that a test moves: preloaded into a cluster's process, it adds what the file that MOVABLE_CLOCK names says
 * (one int64, nanoseconds) to every clock that is read. The test writes the file, and whatever wakes the process next
 * finds the later time; deadlines of conditions are translated back, so that no thread waits for what has been skipped.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static const volatile int64_t *offset;

__attribute__((constructor)) static void open_file(void)
{
    const char *path = getenv("MOVABLE_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (map != MAP_FAILED)
        offset = map;
}

static void add(struct timespec *t, int64_t nanoseconds)
{
    int64_t sum = t->tv_sec * SECOND + t->tv_nsec + nanoseconds;
    t->tv_sec = sum / SECOND;
    t->tv_nsec = sum % SECOND;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    int result = (int)syscall(SYS_clock_gettime, id, out);
    bool moves = id != CLOCK_PROCESS_CPUTIME_ID && id != CLOCK_THREAD_CPUTIME_ID;
    if (result == 0 && offset && moves)
        add(out, *offset);
    return result;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
    static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec real = *until;
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    if (offset)
        add(&real, -*offset);
    return next(condition, mutex, &real);
}

/* Compiled seccomp profiles. crun of Debian 12 compiles a container's profile at every start, which takes longer than
 * all else that it does, and leaves the program beside its state. The first program of a profile is kept here and handed
 * to crun with the next container.
 *
 * A file per profile: its JSON text, a newline, the program in base64. The text is compared in full, so two profiles
 * never share a program. Every function blocks for a small file and may be called from several threads at once. */
#ifndef CORACLE_NODE_RUNTIME_SECCOMP_CACHE_H
#define CORACLE_NODE_RUNTIME_SECCOMP_CACHE_H

/* Profiles kept at once; more are compiled each time. */
#define SECCOMP_CACHE_MAX 64
/* Largest program, the kernel's own limit: 4096 instructions of 8 bytes, and some for larger ones joined by crun. */
#define SECCOMP_PROGRAM_MAX ((size_t)64 << 10)

/* The program of a profile in base64, free() it; NULL: not known yet. */
char *seccomp_cache_find(const char *directory, const char *profile);
/* Keeps the program that crun has left at `path`. What cannot be kept is compiled again next time. */
void seccomp_cache_add(const char *directory, const char *profile, const char *path);

#endif

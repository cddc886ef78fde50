/* SANITIZED is defined in builds with sanitizers: all is slower there, and their allocator keeps what is freed. */
#ifndef CORACLE_TEST_SANITIZED_H
#define CORACLE_TEST_SANITIZED_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if !defined(SANITIZED) && (defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__))
#define SANITIZED 1
#endif

#endif

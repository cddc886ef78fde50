/* Files of variables that containers write for those after them (env[].valueFrom.fileKeyRef): a strict subset of shell
 * syntax, as upstream's ParseEnv reads it.
 *
 *     NAME='value'   # what stands in quotes is taken as it is, over several lines too
 *
 * No blank before '='; one behind it makes the value empty. Blank lines and lines of comment are passed over. */
#ifndef CORACLE_NODE_ENV_FILE_H
#define CORACLE_NODE_ENV_FILE_H

#include "api/types.h"
#include "base/arena.h"
#include "base/error.h"

/* A larger file is refused; upstream's limits for the name and the value. */
#define ENV_FILE_MAX (1 << 20)
#define ENV_FILE_KEY_MAX 128
#define ENV_FILE_VALUE_MAX (32 << 10)

/* The value of `key` in the text, "" when it has none. Pure. Fails with upstream's words: `invalid environment variable
 * format at line 3: missing '='`. What stands behind the key is not looked at. */
int env_file_value(struct arena *arena, const char *text, size_t size, const char *key, const char **out,
                   struct error *err);

/* The value that the selector asks for, from the pod's volume; no link leads out of it. NULL in *out: there is none,
 * and there need not be one. Blocks for a small file. */
int env_file_read(struct arena *arena, const char *pod_directory, const struct file_key_selector *selector,
                  const char **out, struct error *err);

#endif

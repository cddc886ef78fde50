/* Hashes that users see in names and labels. */
#ifndef CORACLE_API_HASH_H
#define CORACLE_API_HASH_H

#include "api/type.h"
#include "base/arena.h"

/* The value of the label pod-template-hash: FNV-1a over the JSON of the value and, if set, the collision count,
 * spelled without vowels as upstream spells it. Equal values have equal hashes; the hash of upstream for the same
 * template differs, because it hashes Go's memory dump of it. */
const char *api_hash_fnv(struct arena *arena, const struct api_type *type, const void *value,
                         struct opt_int32 collision_count);

/* Replaces every character by one of an alphabet without vowels and look-alikes, so that no words come out;
 * also for random suffixes. In place. */
void api_safe_encode(char *text);

#endif

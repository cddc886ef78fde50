/* An empty key with Exists tolerates everything; an empty effect every effect. */
#include "api/toleration.h"

#include <string.h>

static bool is_set(const char *text)
{
    return text && *text;
}

static bool tolerates(const struct toleration *t, const char *key, const char *value, const char *effect)
{
    bool exists = t->operator && strcmp(t->operator, "Exists") == 0;
    if (is_set(t->effect) && strcmp(t->effect, effect) != 0)
        return false;
    if (is_set(t->key) && strcmp(t->key, key) != 0)
        return false;
    if (!is_set(t->key) && !exists)
        return false;
    return exists || strcmp(t->value ? t->value : "", value ? value : "") == 0;
}

const struct toleration *toleration_find(const struct pod_spec *spec, const char *key, const char *value,
                                         const char *effect)
{
    for (size_t i = 0; i < spec->tolerations.count; i++)
        if (tolerates(&spec->tolerations.items[i], key, value, effect))
            return &spec->tolerations.items[i];
    return NULL;
}

/* Rules for PriorityClasses. */
#include <string.h>

#include "api/admission.h"
#include "api/validate_parts.h"

#define SYSTEM_PREFIX "system-"

static const char *const preemption_policies[] = {"PreemptLowerPriority", "Never", NULL};

/* NULL, or what is wrong with a class whose name is reserved. */
static const char *system_problem(struct arena *arena, const struct priority_class *class)
{
    const struct priority_class *known = api_system_priority_class(class->metadata.name);
    if (!known)
        return arena_printf(arena, "%s is not a known system priority class", class->metadata.name);
    if (class->value != known->value)
        return arena_printf(arena, "value of %s PriorityClass must be %d", known->metadata.name, known->value);
    if (class->global_default)
        return arena_printf(arena, "globalDefault of %s PriorityClass must be false", known->metadata.name);
    return NULL;
}

void validate_priority_class(struct api_field_errors *errors, const void *value)
{
    const struct priority_class *class = value;
    const char *name = class->metadata.name ? class->metadata.name : "";
    if (strncmp(name, SYSTEM_PREFIX, strlen(SYSTEM_PREFIX)) == 0) {
        const char *problem = system_problem(errors->arena, class);
        if (problem)
            field_forbidden(errors, PATH(PATH(NULL, "metadata"), "name"),
                            arena_printf(errors->arena,
                                         "priority class names with '" SYSTEM_PREFIX
                                         "' prefix are reserved for system use only. error: %s",
                                         problem));
    } else if (class->value > API_PRIORITY_MAX) {
        field_forbidden(
            errors, PATH(NULL, "value"),
            arena_printf(errors->arena, "maximum allowed value of a user defined priority is %d", API_PRIORITY_MAX));
    }
    if (class->preemption_policy)
        validate_one_of(errors, PATH(NULL, "preemptionPolicy"), class->preemption_policy, preemption_policies);
}

void validate_priority_class_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct priority_class *class = value, *old = old_value;
    if (class->value != old->value)
        field_forbidden(errors, PATH(NULL, "value"), "may not be changed in an update.");
    validate_string_unchanged(errors, PATH(NULL, "preemptionPolicy"), class->preemption_policy, old->preemption_policy);
}

#include "network/endpoint_slices.h"

#include <string.h>

#include "api/well_known.h"


const char *endpoint_slice_service(struct object *object)
{
    return string_map_get(&object->meta->labels, SERVICE_NAME_LABEL);
}

bool endpoint_slice_service_key(struct object *object, char *out, size_t size)
{
    const char *name = endpoint_slice_service(object);
    if (!name || strlen(name) + strlen(object->meta->namespace) + 2 > size)
        return false;
    strcpy(stpcpy(stpcpy(out, object->meta->namespace), "/"), name);
    return true;
}

bool endpoint_condition(struct opt_bool value, bool unset)
{
    return value.set ? value.value : unset;
}

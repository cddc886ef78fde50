/* ImageLocality: nodes that have the pod's images are better, the more the larger the images; weighed by how many nodes
 * have them, so that pods do not all go to the one node that was first. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "schedule/plugin.h"

#define MEGABYTE (INT64_C(1024) * 1024)
/* Images that are smaller in total do not matter; nor does what is beyond this, per container. */
#define LEAST (23 * MEGABYTE)
#define MOST_PER_CONTAINER (1000 * MEGABYTE)

static const struct census_image *image_of(const struct schedule_pod *pod, const struct container *container)
{
    cleanup_free char *name = census_image_name(container->image ? container->image : "");
    return census_image(pod->census, name);
}

static void collect(struct schedule_pod *pod, const struct container_array *containers)
{
    for (size_t i = 0; i < containers->count; i++) {
        const struct census_image *image = image_of(pod, &containers->items[i]);
        if (image)
            pod->images[pod->image_count++] = image;
    }
}

bool prescore_image_locality(struct schedule_pod *pod, struct node_info *const *nodes, size_t count)
{
    const struct pod_spec *spec = &pod->pod->spec;
    (void)nodes, (void)count;
    pod->image_count = 0;
    if (!pod->census->images.count)
        return false;
    pod->images =
        arena_alloc(pod->arena, (spec->containers.count + spec->init_containers.count) * sizeof(*pod->images));
    collect(pod, &spec->init_containers);
    collect(pod, &spec->containers);
    return pod->image_count;
}

int64_t score_image_locality(const struct schedule_pod *pod, const struct node_info *node)
{
    int64_t containers = (int64_t)(pod->pod->spec.containers.count + pod->pod->spec.init_containers.count);
    int64_t sum = 0, most = MOST_PER_CONTAINER * containers;
    for (size_t i = 0; i < pod->image_count; i++) {
        const struct census_image *image = pod->images[i];
        if ((size_t)node->slot < image->room && image->on[node->slot])
            sum += (int64_t)((double)image->size * ((double)image->nodes / (double)pod->census->order.count));
    }
    sum = sum < LEAST ? LEAST : sum > most ? most : sum;
    return SCHEDULE_SCORE_MAX * (sum - LEAST) / (most - LEAST);
}

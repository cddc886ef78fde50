/* The kubelet's static CPU manager policy: containers that ask for whole CPUs in Guaranteed pods get them for
 * themselves, all others share the rest. What has been given is read back from the containers' groups after a restart,
 * so nothing is written down. Loop thread. */
#ifndef CORACLE_NODE_CPU_MANAGER_H
#define CORACLE_NODE_CPU_MANAGER_H

#include "node/cpu_set.h"
#include "node/node.h"

struct cpu_manager;
struct worker;

/* reserved: CPUs that nobody gets for himself. NULL with err set when the policy cannot work here. */
struct cpu_manager *cpu_manager_new(struct agent *agent, int64_t reserved_milli, struct error *err);
void cpu_manager_free(struct cpu_manager *manager);
/* Chooses the CPUs of a container that is about to be made; `text` lists them. Fails with upstream's words. manager
 * NULL: the policy is none, and *text NULL. */
int cpu_manager_assign(struct cpu_manager *manager, struct worker *worker, size_t container, const char *id,
                       struct arena *arena, const char **text, struct error *err);
/* The container runs: what is shared may have changed since it was made. */
void cpu_manager_started(struct cpu_manager *manager, const char *id);
/* A container that an earlier agent has left running keeps what it has. */
void cpu_manager_restore(struct cpu_manager *manager, struct worker *worker, size_t container, const char *id);
/* The container has ended: its CPUs are everybody's. */
void cpu_manager_release(struct cpu_manager *manager, const char *id);
/* The shared CPUs changed a moment ago and have reached all groups. */
bool cpu_manager_idle(const struct cpu_manager *manager);

#endif

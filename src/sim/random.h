/* Random numbers of a simulation: splitmix64, small and good enough to choose faults by. Each part of a simulation has
 * a stream of its own, so that one part's draws do not move another's. */
#ifndef CORACLE_SIM_RANDOM_H
#define CORACLE_SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct sim_random {
    uint64_t state;
};

static inline uint64_t sim_random_next(struct sim_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* A stream of its own for each pair of a seed and a purpose. */
static inline struct sim_random sim_random_stream(uint64_t seed, uint64_t purpose)
{
    struct sim_random random = {seed * UINT64_C(0xd1342543de82ef95) + purpose};
    random.state = sim_random_next(&random);
    return random;
}

/* 0 to n - 1. */
static inline uint64_t sim_random_below(struct sim_random *random, uint64_t n)
{
    return sim_random_next(random) % n;
}

/* Both ends included. */
static inline int64_t sim_random_between(struct sim_random *random, int64_t low, int64_t high)
{
    return high <= low ? low : low + (int64_t)sim_random_below(random, (uint64_t)(high - low) + 1);
}

/* True in so many of a thousand cases. */
static inline bool sim_random_chance(struct sim_random *random, unsigned permille)
{
    return sim_random_below(random, 1000) < permille;
}

#endif

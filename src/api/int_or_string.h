/* Numbers that may be given as a percentage: maxSurge: 25%. */
#ifndef CORACLE_API_INT_OR_STRING_H
#define CORACLE_API_INT_OR_STRING_H

#include "api/type.h"
#include "base/error.h"

/* The number, or that percentage of `total`, rounded up or down: what intstr.GetScaledValueFromIntOrPercent
 * gives, with its errors ("invalid value for IntOrString: ..."). */
int int_or_string_scaled(const struct int_or_string *value, int total, bool round_up, int *result, struct error *err);

#endif

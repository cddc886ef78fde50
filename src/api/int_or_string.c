/* Percentages. */
#include "api/int_or_string.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "api/field_error.h"
#include "base/buffer.h"

/* "25%" as 25. */
static int parse_percent(const char *text, int64_t *percent, struct error *err)
{
    size_t n = strlen(text);
    if (!n || text[n - 1] != '%')
        return error_set(err, EINVAL, "invalid type: string is not a percentage");
    const char *digits = text + (*text == '-' || *text == '+');
    size_t count = n - 1 - (size_t)(digits - text);
    const char *wrong = count && strspn(digits, "0123456789") == count ? NULL : "invalid syntax";
    errno = 0;
    *percent = strtoll(text, NULL, 10);
    if (!wrong && errno)
        wrong = "value out of range";
    if (!wrong)
        return 0;
    cleanup_buffer struct buffer whole = {0}, number = {0}, copy = {0};
    buffer_add(&copy, text, n - 1);
    go_quote(&whole, text);
    go_quote(&number, copy.data);
    return error_set(err, EINVAL, "invalid value %s: strconv.Atoi: parsing %s: %s", whole.data, number.data, wrong);
}

int int_or_string_scaled(const struct int_or_string *value, int total, bool round_up, int *result, struct error *err)
{
    if (value->kind != INT_OR_STRING_STRING) {
        *result = value->number;
        return 0;
    }
    int64_t percent = 0;
    if (parse_percent(value->text ? value->text : "", &percent, err) < 0)
        return error_wrap(err, "invalid value for IntOrString");
    __int128 product = (__int128)percent * total, quotient = product / 100;
    if (product % 100 > 0 && round_up)
        quotient++;
    if (product % 100 < 0 && !round_up)
        quotient--;
    *result = quotient > INT_MAX ? INT_MAX : quotient < INT_MIN ? INT_MIN : (int)quotient;
    return 0;
}

/* The words that stand behind the number of an HTTP status, as Go's net/http spells them: "Request Entity Too Large"
 * for 413. NULL for a number that has none here. */
#ifndef CORACLE_BASE_HTTP_REASON_H
#define CORACLE_BASE_HTTP_REASON_H

const char *http_reason(int status);

#endif

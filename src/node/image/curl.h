/* libcurl when it is needed. */
#ifndef CORACLE_NODE_IMAGE_CURL_H
#define CORACLE_NODE_IMAGE_CURL_H

#include "base/error.h"

/* Call before any function of libcurl. 0, or ENOENT when this machine does not have it. Any thread. */
int image_curl_load(struct error *err);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device_check.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* The wrapped table with a few entries replaced. */
typedef struct check_ops {
  zt_device_ops ops; /* first: dev->ops points here */
  const zt_device_ops *inner;
} check_ops;

static const check_ops *check_of(const zt_device *dev) {
  return (const check_ops *) dev->ops;
}

static void poison(void *from, size_t bytes) {
  memset(from, 0xFF, bytes); /* NaN in fp32, bf16 and fp64; -1 as an index */
}

static zt_status check_allocate(zt_device *dev, size_t bytes, void **p) {
  ZT_TRY(check_of(dev)->inner->allocate(dev, bytes, p));
  poison(*p, bytes);
  return ZT_OK;
}

static void check_destroy(zt_device *dev) {
  const check_ops *check = check_of(dev);
  dev->ops = check->inner;
  free((void *) check);
  dev->ops->destroy(dev);
}

zt_status zt_device_check(zt_device *dev) {
  check_ops *check = zt_calloc(1, sizeof *check);
  if (!check)
    return ZT_ERR_MEMORY;
  *check = (check_ops){.ops = *dev->ops, .inner = dev->ops};
  check->ops.allocate = check_allocate;
  check->ops.destroy = check_destroy;
  dev->ops = &check->ops;
  dev->poison = poison;
  return ZT_OK;
}

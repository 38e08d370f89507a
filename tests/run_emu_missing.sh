#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# In place of the tests on the double of CUDA where they cannot be built.
echo "skip: no headers of the CUDA toolkit (runtime, cuBLASLt, NCCL), or a C++" \
  "compiler without -fsanitize=thread; see config.log, --with-cuda=DIR"
exit 77

// SPDX-License-Identifier: BSD-3-Clause
// CUDA runtime: devices, memory, copies, launches.  NVIDIA's header is
// included, so a wrong prototype does not compile.
#include "emu_core.h"
#include "emu_device.h"

#include <map>
#include <stdio.h>
#include <string.h>

namespace emu {

namespace {

enum : size_t { STATIC_LIMIT = 48 << 10, DYNAMIC_LIMIT = 163 << 10 };

thread_local cudaError_t last_error;
thread_local int device;
std::map<const void *, size_t> allowed_shared; /* by kernel */

/* No driver: nothing works, and counts are not even written. */
cudaError_t driver() {
  return settings().devices < 0    ? cudaErrorInsufficientDriver
         : settings().devices == 0 ? cudaErrorNoDevice
                                   : cudaSuccess;
}

cudaError_t copy(const char *name, void *to, const void *from, size_t bytes,
                 cudaMemcpyKind kind, cudaStream_t stream, bool wait) {
  if (!bytes)
    return cudaSuccess;
  bool to_device = on_device(to), from_device = on_device(from);
  cudaMemcpyKind is = to_device     ? from_device ? cudaMemcpyDeviceToDevice
                                                  : cudaMemcpyHostToDevice
                      : from_device ? cudaMemcpyDeviceToHost
                                    : cudaMemcpyHostToHost;
  if (kind != is && kind != cudaMemcpyDefault) {
    report("%s: the kind of the copy is not that of its pointers", name);
    return set_error(cudaErrorInvalidValue);
  }
  const char *kinds[] = {"copy HtoH", "copy HtoD", "copy DtoH", "copy DtoD"};
  bool pinned =
      (to_device || is_pinned(to)) && (from_device || is_pinned(from));
  /* Pageable memory is read before the call returns, or written. */
  std::vector<char> staged;
  const void *source = from;
  if (!pinned && !from_device)
    staged.assign((const char *) from, (const char *) from + bytes);
  if (!pinned)
    counts_of("copy pageable")->launches++;
  bool owned = !staged.empty();
  Op *op = enqueue(kinds[is], stream,
                   [=] {
                     in_flight_lift(to, bytes, true);
                     in_flight_lift(source, bytes, true);
                     memcpy(to, owned ? staged.data() : source, bytes);
                     in_flight_lift(source, bytes, false);
                     in_flight_lift(to, bytes, false);
                     return true;
                   },
                   {{from, bytes, false}, {to, bytes, true}});
  int index = op->stream;
  uint32_t number = op->number;
  if (!to_device && pinned && checking()) {
    /* Who reads too early sees rubbish; a copy from there that is ordered
     * before this one must not. */
    if (!is_read_later(to, bytes)) {
      in_flight_lift(to, bytes, true);
      memset(to, 0xa5, bytes);
      in_flight_lift(to, bytes, false);
    }
    in_flight(to, bytes, true, index, number);
  } else if (!from_device && pinned) {
    in_flight((void *) from, bytes, false, index, number);
  }
  enqueued();
  if (wait || (!pinned && !to_device))
    stream_wait(stream);
  return cudaSuccess;
}

} // namespace

cudaError_t set_error(cudaError_t error) {
  last_error = error;
  return error;
}

int current_device() {
  return device;
}

} // namespace emu

using namespace emu;

void emu_launch_raw(const char *name, const void *kernel, dim3 grid, dim3 block,
                    size_t shared_bytes, cudaStream_t stream,
                    void (*call)(void *), void *parameters, size_t bytes,
                    void (*release)(void *)) {
  Call lock("launch");
  size_t threads = (size_t) block.x * block.y * block.z;
  auto allowed = allowed_shared.find(kernel);
  size_t limit =
      allowed == allowed_shared.end() ? (size_t) STATIC_LIMIT : allowed->second;
  cudaError_t error = driver();
  if (lock.fails)
    error = cudaErrorLaunchOutOfResources;
  else if (!threads || threads > 1024 || block.z > 64 || !grid.x || !grid.y ||
           !grid.z || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    error = cudaErrorInvalidConfiguration;
  else if (shared_bytes > limit)
    error = cudaErrorInvalidValue;
  if (error) {
    set_error(error);
    release(parameters);
    return;
  }
  const char *kept =
      intern(name[0] == '(' ? std::string(name + 1, strlen(name) - 2) : name);
  Launch l = {kept, grid, block, shared_bytes, call, parameters, bytes};
  enqueue(kept, stream, [=] {
    run_kernel(l);
    release(parameters);
    return true;
  });
  enqueued();
}

extern "C" {

/* ---- Devices ---- */

cudaError_t cudaGetDeviceCount(int *count) {
  Call call("cudaGetDeviceCount");
  if (driver())
    return set_error(driver());
  *count = settings().devices;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int number) {
  Call call("cudaSetDevice");
  if (driver())
    return set_error(driver());
  if (call.fails)
    return set_error(cudaErrorDevicesUnavailable);
  if (number < 0 || number >= settings().devices)
    return set_error(cudaErrorInvalidDevice);
  device = number;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int *number) {
  if (driver())
    return set_error(driver());
  *number = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int number) {
  if (driver())
    return set_error(driver());
  if (number < 0 || number >= settings().devices)
    return set_error(cudaErrorInvalidDevice);
  memset(p, 0, sizeof *p);
  snprintf(p->name, sizeof p->name, "CUDA double %d", number);
  memset(&p->uuid, number + 1, sizeof p->uuid);
  p->totalGlobalMem = settings().memory;
  p->sharedMemPerBlock = STATIC_LIMIT;
  p->sharedMemPerBlockOptin = DYNAMIC_LIMIT;
  p->sharedMemPerMultiprocessor = DYNAMIC_LIMIT + 1024;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 0x7fffffff;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->maxThreadsPerMultiProcessor = 2048;
  p->major = 8;
  p->minor = 0;
  p->multiProcessorCount = 108;
  p->l2CacheSize = 40 << 20;
  p->asyncEngineCount = 3;
  p->unifiedAddressing = 1;
  p->concurrentKernels = 1;
  p->memoryPoolsSupported = 1;
  p->pciBusID = number + 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute,
                                   int number) {
  struct cudaDeviceProp p;
  cudaError_t error = cudaGetDeviceProperties(&p, number);
  if (error)
    return error;
  switch (attribute) {
  case cudaDevAttrMultiProcessorCount:
    *value = p.multiProcessorCount;
    break;
  case cudaDevAttrComputeCapabilityMajor:
    *value = p.major;
    break;
  case cudaDevAttrComputeCapabilityMinor:
    *value = p.minor;
    break;
  case cudaDevAttrMaxSharedMemoryPerBlock:
    *value = (int) p.sharedMemPerBlock;
    break;
  case cudaDevAttrMaxSharedMemoryPerBlockOptin:
    *value = (int) p.sharedMemPerBlockOptin;
    break;
  case cudaDevAttrMaxThreadsPerBlock:
    *value = p.maxThreadsPerBlock;
    break;
  case cudaDevAttrWarpSize:
    *value = p.warpSize;
    break;
  case cudaDevAttrL2CacheSize:
    *value = p.l2CacheSize;
    break;
  case cudaDevAttrClockRate:
  case cudaDevAttrMemoryClockRate:
    *value = 1000000; /* kHz */
    break;
  case cudaDevAttrGlobalMemoryBusWidth:
    *value = 5120;
    break;
  case cudaDevAttrMemoryPoolsSupported:
    *value = p.memoryPoolsSupported;
    break;
  case cudaDevAttrComputeMode:
    *value = cudaComputeModeDefault;
    break;
  default:
    report("the double does not know device attribute %d", attribute);
    return set_error(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int length, int number) {
  if (number < 0 || number >= settings().devices)
    return set_error(cudaErrorInvalidDevice);
  snprintf(text, (size_t) length, "0000:%02x:00.0", number + 1);
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
  *version = driver() == cudaErrorInsufficientDriver ? 0 : CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned) {
  return cudaSuccess;
}

cudaError_t cudaDeviceReset(void) {
  return cudaDeviceSynchronize();
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int, int) {
  *can = 1;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  Call call("cudaMemGetInfo");
  if (driver())
    return set_error(driver());
  memory_info(free_bytes, total);
  return cudaSuccess;
}

/* ---- Memory ---- */

cudaError_t cudaMalloc(void **p, size_t bytes) {
  Call call("cudaMalloc", true);
  if (driver())
    return set_error(driver());
  *p = NULL;
  if (!bytes)
    return cudaSuccess;
  if (call.fails || !(*p = device_allocate(bytes)))
    return set_error(cudaErrorMemoryAllocation);
  device_ready(*p);
  return cudaSuccess;
}

cudaError_t cudaFree(void *p) {
  Call call("cudaFree");
  if (driver())
    return set_error(driver());
  if (!p)
    return cudaSuccess;
  all_wait();
  if (!device_free(p)) {
    report("cudaFree of what is not allocated");
    return set_error(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void **p, size_t bytes, cudaStream_t stream) {
  Call call("cudaMallocAsync", true);
  if (driver())
    return set_error(driver());
  if (call.fails || !(*p = device_allocate(bytes)))
    return set_error(cudaErrorMemoryAllocation);
  void *q = *p;
  enqueue("cudaMallocAsync", stream, [=] {
    device_ready(q);
    return true;
  });
  enqueued();
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t stream) {
  Call call("cudaFreeAsync");
  enqueue("cudaFreeAsync", stream,
          [=] {
            if (!device_free(p))
              report("cudaFreeAsync of what is not allocated");
            return true;
          },
          {{p, allocated(p), true}});
  enqueued();
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) {
  Call call("cudaHostAlloc", true);
  if (driver())
    return set_error(driver());
  if (call.fails || !(*p = pinned_allocate(bytes)))
    return set_error(cudaErrorMemoryAllocation);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes) {
  return cudaHostAlloc(p, bytes, 0);
}

cudaError_t cudaFreeHost(void *p) {
  Call call("cudaFreeHost");
  if (!p)
    return cudaSuccess;
  all_wait();
  if (!pinned_free(p)) {
    report("cudaFreeHost of what is not pinned memory");
    return set_error(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned) {
  Call call("cudaHostRegister", true);
  if (driver())
    return set_error(driver());
  if (call.fails)
    return set_error(cudaErrorMemoryAllocation);
  if (is_pinned(p))
    return set_error(cudaErrorHostMemoryAlreadyRegistered);
  pinned_register(p, bytes);
  return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *p) {
  Call call("cudaHostUnregister");
  all_wait();
  return pinned_unregister(p) ? cudaSuccess
                              : set_error(cudaErrorHostMemoryNotRegistered);
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a,
                                     const void *p) {
  Call call("cudaPointerGetAttributes");
  memset(a, 0, sizeof *a);
  a->type = on_device(p)   ? cudaMemoryTypeDevice
            : is_pinned(p) ? cudaMemoryTypeHost
                           : cudaMemoryTypeUnregistered;
  a->devicePointer = on_device(p) ? (void *) p : NULL;
  a->hostPointer = on_device(p) ? NULL : (void *) p;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes,
                            enum cudaMemcpyKind kind, cudaStream_t stream) {
  Call call("cudaMemcpyAsync");
  if (call.fails)
    return set_error(cudaErrorIllegalAddress);
  return copy("cudaMemcpyAsync", to, from, bytes, kind, stream, false);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes,
                       enum cudaMemcpyKind kind) {
  Call call("cudaMemcpy");
  if (call.fails)
    return set_error(cudaErrorIllegalAddress);
  return copy("cudaMemcpy", to, from, bytes, kind, NULL, true);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from,
                              size_t from_pitch, size_t width, size_t height,
                              enum cudaMemcpyKind kind, cudaStream_t stream) {
  Call call("cudaMemcpy2DAsync");
  if (call.fails)
    return set_error(cudaErrorIllegalAddress);
  if (width > to_pitch || width > from_pitch)
    return set_error(cudaErrorInvalidPitchValue);
  for (size_t r = 0; r < height; r++) {
    cudaError_t error =
        copy("cudaMemcpy2DAsync", (char *) to + r * to_pitch,
             (const char *) from + r * from_pitch, width, kind, stream, false);
    if (error)
      return error;
  }
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes,
                            cudaStream_t stream) {
  Call call("cudaMemsetAsync");
  if (call.fails)
    return set_error(cudaErrorIllegalAddress);
  if (!bytes)
    return cudaSuccess;
  if (!on_device(p)) {
    report("cudaMemsetAsync of memory of the host");
    return set_error(cudaErrorInvalidValue);
  }
  enqueue("memset", stream,
          [=] {
            memset(p, value, bytes);
            return true;
          },
          {{p, bytes, true}});
  enqueued();
  return cudaSuccess;
}

cudaError_t cudaMemset(void *p, int value, size_t bytes) {
  return cudaMemsetAsync(p, value, bytes, NULL);
}

/* ---- Kernels and errors ---- */

cudaError_t cudaFuncSetAttribute(const void *kernel,
                                 enum cudaFuncAttribute attribute, int value) {
  Call call("cudaFuncSetAttribute");
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
    return cudaSuccess;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      (size_t) value > DYNAMIC_LIMIT)
    return set_error(cudaErrorInvalidValue);
  allowed_shared[kernel] = (size_t) value;
  return cudaSuccess;
}

cudaError_t cudaGetLastError(void) {
  cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError(void) {
  return last_error;
}

const char *cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define EMU_NAME(name)                                                         \
  case name:                                                                   \
    return #name;
    EMU_NAME(cudaSuccess)
    EMU_NAME(cudaErrorInvalidValue)
    EMU_NAME(cudaErrorMemoryAllocation)
    EMU_NAME(cudaErrorInvalidConfiguration)
    EMU_NAME(cudaErrorInvalidPitchValue)
    EMU_NAME(cudaErrorInsufficientDriver)
    EMU_NAME(cudaErrorDevicesUnavailable)
    EMU_NAME(cudaErrorNoDevice)
    EMU_NAME(cudaErrorInvalidDevice)
    EMU_NAME(cudaErrorInvalidResourceHandle)
    EMU_NAME(cudaErrorIllegalAddress)
    EMU_NAME(cudaErrorLaunchOutOfResources)
    EMU_NAME(cudaErrorNotReady)
#undef EMU_NAME
  default:
    return "unknown to the double";
  }
}

const char *cudaGetErrorString(cudaError_t error) {
  return error ? cudaGetErrorName(error) : "no error";
}

} // extern "C"

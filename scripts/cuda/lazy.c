/* Finds CUDA's functions at their first call, so that a program built with CUDA also starts without it.
   trampolines.py writes the jumps and functions.h; setup_cuda_toolkit.sh builds both into libcudalazy.a.

   A library is looked for in $CUDA_LAZY_PATH (folders separated by colons), where the loader looks, and then
   in $CUDA_HOME/lib64, the nvidia wheels of $VIRTUAL_ENV and /usr/local/cuda/lib64. Where it is missing, each
   of its functions returns a status of that library that the caller reports as an error. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "functions.h"

/* Indices into sonames. */
enum { CUDA, CUBLAS, CUBLASLT, CURAND, NVRTC, CUDNN, NCCL, LIBRARIES };
_Static_assert(sizeof sonames / sizeof *sonames == LIBRARIES, "the order is that of trampolines.py");

extern void *cuda_lazy_table[];

static struct {
  int tried;
  void *handle;
  char why[256];
} state[LIBRARIES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Opens the library in one folder; the folder may be a glob pattern. */
static void *open_in(const char *folder, const char *soname) {
  char pattern[4096];
  glob_t found;
  void *handle = NULL;
  if (snprintf(pattern, sizeof pattern, "%s/%s", folder, soname) >= (int)sizeof pattern) return NULL;
  if (glob(pattern, 0, NULL, &found) != 0) return NULL;
  for (size_t i = 0; i < found.gl_pathc && !handle; i++) handle = dlopen(found.gl_pathv[i], RTLD_LAZY);
  globfree(&found);
  return handle;
}

/* Opens the library below the folders that an environment variable lists. */
static void *open_below(const char *variable, const char *below, const char *soname) {
  const char *value = getenv(variable);
  char folder[4096], *copy, *rest = NULL;
  void *handle = NULL;
  if (!value || !*value || !(copy = strdup(value))) return NULL;
  for (char *part = strtok_r(copy, ":", &rest); part && !handle; part = strtok_r(NULL, ":", &rest))
    if (snprintf(folder, sizeof folder, "%s%s", part, below) < (int)sizeof folder)
      handle = open_in(folder, soname);
  free(copy);
  return handle;
}

static void *open_anywhere(const char *soname, char *why, size_t size) {
  void *handle = open_below("CUDA_LAZY_PATH", "", soname);
  if (!handle && !(handle = dlopen(soname, RTLD_LAZY))) {
    const char *error = dlerror();
    snprintf(why, size, "%s", error ? error : soname);
  }
  if (!handle) handle = open_below("CUDA_HOME", "/lib64", soname);
  if (!handle) handle = open_below("VIRTUAL_ENV", "/lib/python3*/site-packages/nvidia/*/lib", soname);
  if (!handle) handle = open_in("/usr/local/cuda/lib64", soname);
  return handle;
}

static void *library(int i) {
  if (state[i].tried) return state[i].handle;
  state[i].tried = 1;
  if (i == NVRTC) { /* It opens its second half by bare name, which works only once that is loaded. */
    char unused[8];
    open_anywhere("libnvrtc-builtins.so.13.[0-9]", unused, sizeof unused);
  }
  state[i].handle = open_anywhere(sonames[i], state[i].why, sizeof state[i].why);
  /* A missing driver is an ordinary error to the caller; any other gap on a GPU machine needs this hint. */
  if (!state[i].handle && i != CUDA)
    fprintf(stderr, "cuda: %s; set CUDA_LAZY_PATH to its folder\n", state[i].why);
  return state[i].handle;
}

/* Answers of missing functions. A status outside cudarc's enums would be undefined behaviour there. */
#define ANSWER(library, status) \
  static int no_##library(void) { return status; }
ANSWER(cuda, 100)   /* CUDA_ERROR_NO_DEVICE */
ANSWER(cublas, 1)   /* CUBLAS_STATUS_NOT_INITIALIZED */
ANSWER(curand, 203) /* CURAND_STATUS_INITIALIZATION_FAILED */
ANSWER(nvrtc, 11)   /* NVRTC_ERROR_INTERNAL_ERROR */
ANSWER(cudnn, 1001) /* CUDNN_STATUS_NOT_INITIALIZED */
ANSWER(nccl, 2)     /* ncclSystemError */
static size_t no_version(void) { return 0; }
static const char *no_text(void) { return "the library could not be loaded"; }
static int no_driver_text(int status, const char **text) {
  static char missing[sizeof state[CUDA].why + 32];
  (void)status;
  snprintf(missing, sizeof missing, "no NVIDIA driver found: %s", state[CUDA].why);
  *text = state[CUDA].why[0] ? missing : "the CUDA driver lacks this function";
  return 0;
}

static void *stand_in(const char *name, int library) {
  static int (*const answers[LIBRARIES])(void) = {
      [CUDA] = no_cuda,   [CUBLAS] = no_cublas, [CUBLASLT] = no_cublas, [CURAND] = no_curand,
      [NVRTC] = no_nvrtc, [CUDNN] = no_cudnn,   [NCCL] = no_nccl,
  };
  if (!strcmp(name, "cuGetErrorString") || !strcmp(name, "cuGetErrorName")) return (void *)no_driver_text;
  if (!strcmp(name, "cublasLtGetVersion") || !strcmp(name, "cudnnGetVersion") || strstr(name, "GetCudartVersion"))
    return (void *)no_version;
  if (strstr(name, "ErrorString") || strstr(name, "StatusString") || strstr(name, "StatusName") ||
      !strcmp(name, "ncclGetLastError"))
    return (void *)no_text;
  return (void *)answers[library];
}

/* Called once per function by its trampoline: fills the slot and returns the address to jump to. */
__attribute__((visibility("hidden"))) void *cuda_lazy_resolve(unsigned long slot) {
  const char *name = functions[slot].name;
  int from = functions[slot].library;
  pthread_mutex_lock(&lock);
  void *handle = library(from), *address = handle ? dlsym(handle, name) : NULL;
  if (handle && !address) fprintf(stderr, "cuda: %s has no %s\n", sonames[from], name);
  if (!address) address = stand_in(name, from);
  pthread_mutex_unlock(&lock);
  __atomic_store_n(&cuda_lazy_table[slot], address, __ATOMIC_RELEASE);
  return address;
}

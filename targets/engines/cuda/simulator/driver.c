// The calls of the CUDA driver and of the CUDA runtime that TVM's runtime and neoc's tree sessions make, on a processor.
//
// Compiled twice: with -DNEOC_DRIVER as libcuda.so.1, without as libcudart.so.13 (a version script gives its symbols
// the version that TVM asks for). Device memory is memory of the process, filled with NaN, with an unreadable page
// behind it. A module's image is the text "NEOC_SIMULATOR " and the path of a library that build.py made of the kernels.

typedef __SIZE_TYPE__ size_t;
typedef unsigned long long pointer;
#define NULL ((void*)0)

void* dlopen(const char*, int);
void* dlsym(void*, const char*);
int dlclose(void*);
void* memcpy(void*, const void*, size_t);
void* memset(void*, int, size_t);
int strncmp(const char*, const char*, size_t);
void* malloc(size_t);
void free(void*);
void* mmap(void*, size_t, int, int, int, long);
int munmap(void*, size_t);
int mprotect(void*, size_t, int);
int snprintf(char*, size_t, const char*, ...);

enum { OK = 0, INVALID_VALUE = 1, NO_MEMORY = 2, INVALID_IMAGE = 200, NOT_FOUND = 500, LAUNCH_FAILED = 719 };
enum { PAGE = 4096 };

static int allocate(void** found, size_t size) {
  size_t rounded = (size + PAGE - 1) / PAGE * PAGE + (size == 0) * PAGE;
  char* made = mmap(NULL, rounded + 2 * PAGE, 3, 0x22, -1, 0);
  if (made == (char*)-1) return NO_MEMORY;
  *(size_t*)made = rounded;
  mprotect(made, PAGE, 1);
  mprotect(made + PAGE + rounded, PAGE, 0);
  memset(made + PAGE, 0xff, rounded);
  *found = made + PAGE;
  return OK;
}

static int release(void* given) {
  if (given) {
    char* made = (char*)given - PAGE;
    munmap(made, *(size_t*)made + 2 * PAGE);
  }
  return OK;
}

#ifdef NEOC_DRIVER

typedef struct { void (*body)(void**); int barriers; const char* (*launch)(void*, int, const unsigned*, const unsigned*, void**, int); } Function;
typedef struct { unsigned grid[3], block[3], shared; void* stream; void* attributes; unsigned count; } Config;

static int order;
static char said[512] = "";

void neoc_order(int reversed) { order = reversed; }
const char* neoc_said(void) { return said; }

int cuInit(unsigned flags) { return OK; }
int cuDeviceGet(int* device, int ordinal) { *device = ordinal; return ordinal ? INVALID_VALUE : OK; }
int cuDevicePrimaryCtxRetain(void** context, int device) { *context = &order; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { return OK; }
int cuCtxSetCurrent(void* context) { return OK; }
int cuDeviceGetName(char* name, int size, int device) { snprintf(name, size, "simulator"); return OK; }
int cuMemAlloc_v2(pointer* found, size_t size) { return allocate((void**)found, size); }
int cuMemFree_v2(pointer given) { return release((void*)given); }
int cuMemcpyHtoD_v2(pointer to, const void* from, size_t size) { memcpy((void*)to, from, size); return OK; }
int cuMemcpyDtoH_v2(void* to, pointer from, size_t size) { memcpy(to, (void*)from, size); return OK; }
int cuFuncSetAttribute(void* function, int attribute, int value) { return OK; }
int cuTensorMapEncodeTiled(void) { return INVALID_VALUE; }

int cuModuleLoadData(void** module, const void* image) {
  const char* text = image;
  if (strncmp(text, "NEOC_SIMULATOR ", 15)) return INVALID_IMAGE;
  *module = dlopen(text + 15, 2);
  return *module ? OK : INVALID_IMAGE;
}

int cuModuleUnload(void* module) { dlclose(module); return OK; }

int cuModuleGetFunction(void** found, void* module, const char* name) {
  char symbol[1024];
  Function* made = malloc(sizeof *made);
  snprintf(symbol, sizeof symbol, "neoc_body_%s", name);
  made->body = (void (*)(void**))dlsym(module, symbol);
  snprintf(symbol, sizeof symbol, "neoc_barriers_%s", name);
  int* barriers = dlsym(module, symbol);
  made->launch = (const char* (*)(void*, int, const unsigned*, const unsigned*, void**, int))dlsym(module, "neoc_launch");
  if (!made->body || !barriers || !made->launch) { free(made); return NOT_FOUND; }
  made->barriers = *barriers;
  *found = made;
  return OK;
}

int cuLaunchKernelEx(const Config* c, void* given, void** arguments, void** extra) {
  Function* f = given;
  const char* fault = f->launch((void*)f->body, f->barriers, c->grid, c->block, arguments, order);
  if (!fault) return OK;
  snprintf(said, sizeof said, "%s", fault);
  return LAUNCH_FAILED;
}

int cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void* stream, void** arguments, void** extra) {
  Config c = {{gx, gy, gz}, {bx, by, bz}, shared, stream, NULL, 0};
  return cuLaunchKernelEx(&c, f, arguments, extra);
}

static const char* named(int status) {
  switch (status) {
    case OK: return "CUDA_SUCCESS";
    case INVALID_IMAGE: return "CUDA_ERROR_INVALID_IMAGE";
    case NOT_FOUND: return "CUDA_ERROR_NOT_FOUND";
    case LAUNCH_FAILED: return said;
    default: return "CUDA_ERROR";
  }
}
int cuGetErrorName(int status, const char** text) { *text = named(status); return OK; }
int cuGetErrorString(int status, const char** text) { *text = named(status); return OK; }

#else

int cudaMalloc(void** found, size_t size) { return allocate(found, size); }
int cudaFree(void* given) { return release(given); }
int cudaMallocHost(void** found, size_t size) { return allocate(found, size); }
int cudaFreeHost(void* given) { return release(given); }
int cudaMemcpyAsync(void* to, const void* from, size_t size, int kind, void* s) { memcpy(to, from, size); return OK; }
int cudaMemcpyPeerAsync(void* to, int a, const void* from, int b, size_t size, void* s) { memcpy(to, from, size); return OK; }
int cudaMemGetInfo(size_t* left, size_t* all) { *left = *all = (size_t)16 << 30; return OK; }
int cudaSetDevice(int device) { return device ? INVALID_VALUE : OK; }
int cudaGetDevice(int* device) { *device = 0; return OK; }
int cudaGetDeviceCount(int* count) { *count = 1; return OK; }
int cudaGetDeviceProperties(void* properties, int device) { return INVALID_VALUE; }
int cudaDeviceGetAttribute(int* value, int attribute, int device) {
  *value = attribute == 1 ? 1024 : attribute == 8 ? 49152 : attribute == 10 ? 32 : attribute == 16 ? 1 : attribute == 75 ? 9 : 0;
  return OK;
}
int cudaGetLastError(void) { return OK; }
int cudaPeekAtLastError(void) { return OK; }
const char* cudaGetErrorName(int status) { return "cudaError"; }
const char* cudaGetErrorString(int status) { return "an error of the simulator"; }
int cudaStreamCreate(void** s) { *s = NULL; return OK; }
int cudaStreamCreateWithFlags(void** s, unsigned flags) { *s = NULL; return OK; }
int cudaStreamDestroy(void* s) { return OK; }
int cudaStreamSynchronize(void* s) { return OK; }
int cudaStreamWaitEvent(void* s, void* e, unsigned flags) { return OK; }
int cudaStreamBeginCapture(void* s, int mode) { return INVALID_VALUE; }
int cudaStreamEndCapture(void* s, void** graph) { return INVALID_VALUE; }
int cudaGraphInstantiate(void** g, void* h, unsigned long long flags) { return INVALID_VALUE; }
int cudaGraphLaunch(void* g, void* s) { return INVALID_VALUE; }
int cudaGraphDestroy(void* g) { return OK; }
int cudaGraphExecDestroy(void* g) { return OK; }
int cudaEventCreate(void** e) { *e = NULL; return OK; }
int cudaEventDestroy(void* e) { return OK; }
int cudaEventRecord(void* e, void* s) { return OK; }
int cudaEventSynchronize(void* e) { return OK; }
int cudaEventElapsedTime(float* ms, void* a, void* b) { *ms = 0; return INVALID_VALUE; }

#endif

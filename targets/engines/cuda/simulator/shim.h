// CUDA C on a processor: each thread of a block is a fiber, blocks run one after another.
//
// Included before the generated kernels, which stay as they are but for their #include lines. Strict where a GPU is
// silent: shared memory holds NaN when a block begins, threads that wait at different barriers are an error, and the
// order in which threads run can be turned round, so that a missing barrier changes the result.
//
// No header of any library is needed: the mathematics are the compiler's builtins.

typedef __INT8_TYPE__ int8_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __INT16_TYPE__ int16_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __INT32_TYPE__ int32_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __SIZE_TYPE__ size_t;

extern "C" void* memset(void*, int, size_t);
extern "C" void* memcpy(void*, const void*, size_t);
extern "C" void* mmap(void*, size_t, int, int, int, long);

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("neoc_shared")))
extern "C" char __start_neoc_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_neoc_shared[] __attribute__((weak, visibility("hidden")));

// ---- built-in variables and vector types -----------------------------------------------------

struct Index { unsigned x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

#define NEOC_VECTORS(T, N, A2, A4)                                                    \
  struct alignas(A2) N##2 { T x, y; };                                                \
  struct N##3 { T x, y, z; };                                                         \
  struct alignas(A4) N##4 { T x, y, z, w; };                                          \
  static inline N##2 make_##N##2(T x, T y) { return {x, y}; }                         \
  static inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                 \
  static inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
NEOC_VECTORS(signed char, char, 2, 4)
NEOC_VECTORS(unsigned char, uchar, 2, 4)
NEOC_VECTORS(short, short, 4, 8)
NEOC_VECTORS(unsigned short, ushort, 4, 8)
NEOC_VECTORS(int, int, 8, 16)
NEOC_VECTORS(unsigned, uint, 8, 16)
NEOC_VECTORS(float, float, 8, 16)
NEOC_VECTORS(long long, longlong, 16, 16)
NEOC_VECTORS(unsigned long long, ulonglong, 16, 16)
NEOC_VECTORS(double, double, 16, 16)

// ---- fibers ----------------------------------------------------------------------------------

extern "C" void neoc_switch(void** save, void* load);
__asm__(R"(
  .text
  .type neoc_switch, @function
  .hidden neoc_switch
  .globl neoc_switch
neoc_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size neoc_switch, .-neoc_switch
)");

namespace neoc {

enum State { READY, AT_BLOCK, AT_WARP, DONE };
enum { MOST = 1024, STACK = 1 << 18 };

struct Fiber {
  void* stack_pointer;
  State state;
  int line;
};

static Fiber fibers[MOST];
static void* scheduler;
static char* stacks;
static int current, count, reversed;
static void (*body)(void**);
static void** arguments;
static uint64_t exchange[MOST];
static const char* fault;

static void at(int index) {
  current = index;
  threadIdx.x = index % blockDim.x;
  threadIdx.y = index / blockDim.x % blockDim.y;
  threadIdx.z = index / (blockDim.x * blockDim.y);
}

static void leave(State state, int line) {
  fibers[current].state = state;
  fibers[current].line = line;
  neoc_switch(&fibers[current].stack_pointer, scheduler);
}

static void enter() {
  body(arguments);
  leave(DONE, 0);
  __builtin_trap();
}

static void start(int index) {
  void** top = (void**)(stacks + (size_t)(index + 1) * STACK) - 2;
  *top = (void*)enter;
  for (int i = 0; i < 6; ++i) *--top = 0;
  fibers[index] = {top, READY, 0};
}

// Whether those from `first` to `last` that are not done all wait in `state`; they then go on.
static bool release(int first, int last, State state) {
  int line = 0;
  bool waiting = false;
  for (int i = first; i < last; ++i) {
    if (fibers[i].state == DONE) continue;
    if (fibers[i].state != state) return false;
    if (waiting && fibers[i].line != line) {
      fault = "threads of a block wait at different barriers";
      return false;
    }
    line = fibers[i].line;
    waiting = true;
  }
  for (int i = first; waiting && i < last; ++i)
    if (fibers[i].state == state) fibers[i].state = READY;
  return waiting;
}

static bool run_block() {
  memset(__start_neoc_shared, 0xff, __stop_neoc_shared - __start_neoc_shared);
  for (int i = 0; i < count; ++i) start(i);
  for (;;) {
    bool done = true;
    for (int k = 0; k < count; ++k) {
      int i = reversed ? count - 1 - k : k;
      if (fibers[i].state == READY) {
        at(i);
        neoc_switch(&scheduler, fibers[i].stack_pointer);
      }
      done = done && fibers[i].state == DONE;
    }
    if (done) return true;
    bool moved = false;
    for (int first = 0; first < count; first += 32)
      moved = release(first, first + 32 < count ? first + 32 : count, AT_WARP) || moved;
    moved = release(0, count, AT_BLOCK) || moved;
    if (fault || !moved) {
      if (!fault) fault = "some threads wait at a barrier that the others never reach";
      return false;
    }
  }
}

static bool run_block_without_barriers() {
  for (int k = 0; k < count; ++k) {
    at(reversed ? count - 1 - k : k);
    body(arguments);
  }
  return true;
}

static void barrier(int line) { leave(AT_BLOCK, line); }

// Every lane of the warp puts a value down; when all have, each takes that of lane `from`.
template <class T>
static T swap(T value, int from, int line) {
  static_assert(sizeof(T) <= 8, "");
  uint64_t raw = 0;
  memcpy(&raw, &value, sizeof(T));
  exchange[current] = raw;
  leave(AT_WARP, line);
  int first = current / 32 * 32;
  raw = exchange[first + from < count ? first + from : current];
  T found;
  memcpy(&found, &raw, sizeof(T));
  leave(AT_WARP, -line);
  return found;
}

static inline int lane() { return current % 32; }

template <class T>
static T shuffle(T v, int from, int width, int line) {
  return swap(v, lane() / width * width + from % width, line);
}
template <class T>
static T shuffle_down(T v, int by, int width, int line) {
  return swap(v, lane() % width + by < width ? lane() + by : lane(), line);
}
template <class T>
static T shuffle_up(T v, int by, int width, int line) {
  return swap(v, lane() % width >= by ? lane() - by : lane(), line);
}
template <class T>
static T shuffle_xor(T v, int mask, int width, int line) {
  return swap(v, (lane() % width ^ mask) < width ? (lane() ^ mask) : lane(), line);
}
static unsigned ballot(bool vote, int line) {
  exchange[current] = vote;
  leave(AT_WARP, line);
  unsigned found = 0;
  for (int i = 0, first = current / 32 * 32; i < 32 && first + i < count; ++i)
    if (fibers[first + i].state != DONE && exchange[first + i]) found |= 1u << i;
  leave(AT_WARP, -line);
  return found;
}
static unsigned active() {
  unsigned found = 0;
  for (int i = 0, first = current / 32 * 32; i < 32 && first + i < count; ++i)
    if (fibers[first + i].state != DONE) found |= 1u << i;
  return found;
}

}  // namespace neoc

#define __syncthreads() neoc::barrier(__LINE__)
#define __syncwarp(...) neoc::leave(neoc::AT_WARP, __LINE__)
#define __activemask() neoc::active()
#define __shfl_sync(mask, v, from, width) neoc::shuffle(v, from, width, __LINE__)
#define __shfl_down_sync(mask, v, by, width) neoc::shuffle_down(v, by, width, __LINE__)
#define __shfl_up_sync(mask, v, by, width) neoc::shuffle_up(v, by, width, __LINE__)
#define __shfl_xor_sync(mask, v, by, width) neoc::shuffle_xor(v, by, width, __LINE__)
#define __ballot_sync(mask, v) neoc::ballot(v, __LINE__)
#define __any_sync(mask, v) (neoc::ballot(v, __LINE__) != 0)
#define __all_sync(mask, v) (neoc::ballot(!(v), __LINE__) == 0)
#define __threadfence()
#define __threadfence_block()

// A launch; 0, or a sentence that says what went wrong.
extern "C" __attribute__((visibility("default"))) const char* neoc_launch(
    void (*body)(void**), int barriers, const unsigned* grid, const unsigned* block, void** arguments, int reversed) {
  unsigned long long threads = (unsigned long long)block[0] * block[1] * block[2];
  if (threads == 0 || threads > neoc::MOST) return "a block has no thread, or more than 1024";
  if (!neoc::stacks) {
    char* found = (char*)mmap(0, (size_t)neoc::MOST * neoc::STACK, 3, 0x4022, -1, 0);  // private, anonymous, no reserve
    if (found == (char*)-1) return "no memory for the stacks of 1024 threads";
    neoc::stacks = found;
  }
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  neoc::body = body;
  neoc::arguments = arguments;
  neoc::count = (int)threads;
  neoc::reversed = reversed;
  neoc::fault = 0;
  unsigned long long blocks = (unsigned long long)grid[0] * grid[1] * grid[2];
  for (unsigned long long k = 0; k < blocks; ++k) {
    unsigned long long b = reversed ? blocks - 1 - k : k;
    blockIdx = {(unsigned)(b % grid[0]), (unsigned)(b / grid[0] % grid[1]), (unsigned)(b / grid[0] / grid[1])};
    if (!(barriers ? neoc::run_block() : neoc::run_block_without_barriers())) return neoc::fault;
  }
  return 0;
}

// ---- functions -------------------------------------------------------------------------------

#define NEOC_FLOAT1(F) \
  static inline float F##f(float x) { return __builtin_##F##f(x); } \
  static inline double F(double x) { return __builtin_##F(x); } \
  static inline float F(float x) { return __builtin_##F##f(x); }
NEOC_FLOAT1(exp) NEOC_FLOAT1(exp2) NEOC_FLOAT1(log) NEOC_FLOAT1(log2) NEOC_FLOAT1(log10) NEOC_FLOAT1(log1p)
NEOC_FLOAT1(sqrt) NEOC_FLOAT1(cbrt) NEOC_FLOAT1(sin) NEOC_FLOAT1(cos) NEOC_FLOAT1(tan) NEOC_FLOAT1(asin)
NEOC_FLOAT1(acos) NEOC_FLOAT1(atan) NEOC_FLOAT1(sinh) NEOC_FLOAT1(cosh) NEOC_FLOAT1(tanh) NEOC_FLOAT1(asinh)
NEOC_FLOAT1(acosh) NEOC_FLOAT1(atanh) NEOC_FLOAT1(erf) NEOC_FLOAT1(floor) NEOC_FLOAT1(ceil) NEOC_FLOAT1(trunc)
NEOC_FLOAT1(round) NEOC_FLOAT1(rint) NEOC_FLOAT1(nearbyint) NEOC_FLOAT1(fabs)
#define NEOC_FLOAT2(F) \
  static inline float F##f(float x, float y) { return __builtin_##F##f(x, y); } \
  static inline double F(double x, double y) { return __builtin_##F(x, y); } \
  static inline float F(float x, float y) { return __builtin_##F##f(x, y); }
NEOC_FLOAT2(pow) NEOC_FLOAT2(fmod) NEOC_FLOAT2(atan2) NEOC_FLOAT2(hypot) NEOC_FLOAT2(copysign)
static inline float fmaxf(float x, float y) { return __builtin_fmaxf(x, y); }
static inline float fminf(float x, float y) { return __builtin_fminf(x, y); }
static inline float fmaf(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
static inline float rsqrtf(float x) { return 1.0f / __builtin_sqrtf(x); }
static inline float __expf(float x) { return __builtin_expf(x); }
static inline float __logf(float x) { return __builtin_logf(x); }
static inline float __powf(float x, float y) { return __builtin_powf(x, y); }
static inline float __fadd_rn(float x, float y) { return x + y; }
static inline double __dadd_rn(double x, double y) { return x + y; }
static inline float __fmul_rn(float x, float y) { return x * y; }
static inline bool isnan(double x) { return __builtin_isnan(x); }
static inline bool isinf(double x) { return __builtin_isinf(x); }
static inline bool isfinite(double x) { return __builtin_isfinite(x); }
template <class To, class From>
static inline To neoc_bits(From x) {
  static_assert(sizeof(To) == sizeof(From), "");
  To found;
  memcpy(&found, &x, sizeof found);
  return found;
}
#define __float_as_int(x) neoc_bits<int>((float)(x))
#define __float_as_uint(x) neoc_bits<unsigned>((float)(x))
#define __int_as_float(x) neoc_bits<float>((int)(x))
#define __uint_as_float(x) neoc_bits<float>((unsigned)(x))
#define __popc(x) __builtin_popcount(x)
#define __clz(x) ((x) ? __builtin_clz(x) : 32)
template <class T>
static inline T __ldg(const T* p) { return *p; }
static inline float max(float x, float y) { return __builtin_fmaxf(x, y); }
static inline float min(float x, float y) { return __builtin_fminf(x, y); }
static inline double max(double x, double y) { return __builtin_fmax(x, y); }
static inline double min(double x, double y) { return __builtin_fmin(x, y); }
template <class T, class U>
static inline auto max(T x, U y) -> decltype(x + y) { return x > y ? x : y; }
template <class T, class U>
static inline auto min(T x, U y) -> decltype(x + y) { return x < y ? x : y; }
template <class T>
static inline T abs(T x) { return x < 0 ? -x : x; }
template <class T>
static inline T atomicAdd(T* p, T v) { T old = *p; *p = old + v; return old; }

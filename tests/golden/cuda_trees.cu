// 20 trees are data; the text is for 7 features, 1 targets, float rows, float sums
struct alignas(16) Node { float split; unsigned int test; int yes; int no; };

extern "C" __global__ void __launch_bounds__(128) trees_kernel(
    const float* __restrict__ rows,
    const Node* __restrict__ nodes,
    const int* __restrict__ roots,
    const float* __restrict__ leaf_value,
    float* __restrict__ margins,
    long long count) {
  const long long row = (long long)blockIdx.x * 128 + threadIdx.x;
  if (row >= count) return;
  const float* features = rows + row * 7;
  float sum = 0;
  for (int tree = 0; tree < 20; ++tree) {
    int at = roots[tree];
    while (at >= 0) {
      const Node node = nodes[at];
      const float x = features[node.test & 1048575];
      const bool yes = x != x ? (node.test >> 23 & 1) != 0 : (x < node.split);
      at = yes ? node.yes : node.no;
    }
    sum = __fadd_rn(sum, leaf_value[~at]);
  }
  margins[row] = sum;
}

// ----
// 20 trees are data; the text is for 7 features, 2 targets, double rows, double sums
struct alignas(8) Node { double split; unsigned int test; int yes; int no; int zero; };

extern "C" __global__ void __launch_bounds__(128) trees_kernel(
    const double* __restrict__ rows,
    const Node* __restrict__ nodes,
    const int* __restrict__ roots,
    const double* __restrict__ leaf_value,
    const int* __restrict__ leaf_target,
    double* __restrict__ margins,
    long long count) {
  const long long row = (long long)blockIdx.x * 128 + threadIdx.x;
  if (row >= count) return;
  const double* features = rows + row * 7;
  double* sums = margins + row * 2;
  for (int t = 0; t < 2; ++t) sums[t] = 0;
  for (int tree = 0; tree < 20; ++tree) {
    int at = roots[tree];
    while (at >= 0) {
      const Node node = nodes[at];
      const double x = features[node.test & 1048575];
      const bool yes = x != x ? (node.test >> 23 & 1) != 0 : (x < node.split);
      at = yes ? node.yes : node.no;
    }
    sums[leaf_target[~at]] = __dadd_rn(sums[leaf_target[~at]], leaf_value[~at]);
  }
}

// ----
// 20 trees are data; the text is for 7 features, 1 targets, float rows, float sums
struct alignas(16) Node { float split; unsigned int test; int yes; int no; };

static __device__ bool in_set(float x, const float* members, long long from, long long to) {
  for (long long i = from; i < to; ++i)
    if (x == members[i]) return true;
  return false;
}

extern "C" __global__ void __launch_bounds__(128) trees_kernel(
    const float* __restrict__ rows,
    const Node* __restrict__ nodes,
    const int* __restrict__ roots,
    const float* __restrict__ leaf_value,
    const long long* __restrict__ member_start,
    const float* __restrict__ members,
    float* __restrict__ margins,
    long long count) {
  const long long row = (long long)blockIdx.x * 128 + threadIdx.x;
  if (row >= count) return;
  const float* features = rows + row * 7;
  float sum = 0;
  for (int tree = 0; tree < 20; ++tree) {
    int at = roots[tree];
    while (at >= 0) {
      const Node node = nodes[at];
      const float x = features[node.test & 1048575];
      const bool yes = x != x ? (node.test >> 23 & 1) != 0 : ((node.test >> 20 & 7) == 0 ? x <= node.split : (node.test >> 20 & 7) == 1 ? x < node.split : (node.test >> 20 & 7) == 2 ? x >= node.split : (node.test >> 20 & 7) == 3 ? x > node.split : (node.test >> 20 & 7) == 4 ? x == node.split : (node.test >> 20 & 7) == 5 ? x != node.split : in_set(x, members, member_start[at], member_start[at + 1]));
      at = yes ? node.yes : node.no;
    }
    sum = __fadd_rn(sum, leaf_value[~at]);
  }
  margins[row] = sum;
}

// ----
// 20 trees are data; the text is for 7 features, 1 targets, float rows, double sums
struct alignas(16) Node { float split; unsigned int test; int yes; int no; };

extern "C" __global__ void __launch_bounds__(128) trees_kernel(
    const float* __restrict__ rows,
    const Node* __restrict__ nodes,
    const int* __restrict__ roots,
    const double* __restrict__ leaf_value,
    double* __restrict__ margins,
    long long count) {
  const long long row = (long long)blockIdx.x * 128 + threadIdx.x;
  if (row >= count) return;
  const float* features = rows + row * 7;
  double sum = 0;
  for (int tree = 0; tree < 20; ++tree) {
    int at = roots[tree];
    while (at >= 0) {
      const Node node = nodes[at];
      const float x = features[node.test & 1048575];
      const bool yes = x != x ? (node.test >> 23 & 1) != 0 : (x <= node.split);
      at = yes ? node.yes : node.no;
    }
    sum = __dadd_rn(sum, leaf_value[~at]);
  }
  margins[row] = sum;
}

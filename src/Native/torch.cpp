// The C entry over libtorch's dispatcher.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

extern "C" __attribute__((visibility("default"))) int rt_get_num_threads() { return at::get_num_threads(); }

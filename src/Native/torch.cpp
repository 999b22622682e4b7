// Any ATen operator by name through libtorch's dispatcher, and what is no operator: lifetime, autograd, random state,
// threads, devices. Every entry catches everything; a failed one returns non-zero (or null) and leaves a text in rt_error.
//
// A tensor handle is a TensorImpl pointer that owns one reference; 0 is no tensor. Arguments are borrowed, results are owned.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/version.h>

#include <dlfcn.h>
#include <malloc.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#define RT_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using Handle = c10::TensorImpl*;
using OptionalTensor = decltype(std::declval<const c10::IValue&>().toOptional<at::Tensor>());

thread_local std::string last_error;

// Runs the body; what it throws becomes a text and a status.
template <class Body>
int guarded(Body&& body) {
  try {
    body();
    return 0;
  } catch (const c10::Error& e) {
    last_error = e.what_without_backtrace();
  } catch (const std::exception& e) {
    last_error = e.what();
  } catch (...) {
    last_error = "an exception of unknown type inside libtorch";
  }
  return 1;
}

at::Tensor borrow(Handle handle) {
  if (handle == nullptr) return at::Tensor();
  c10::raw::intrusive_ptr::incref(handle);
  return at::Tensor(c10::intrusive_ptr<c10::TensorImpl>::reclaim(handle));
}

Handle release(at::Tensor tensor) { return tensor.defined() ? tensor.unsafeReleaseTensorImpl() : nullptr; }

at::Tensor require(Handle handle) {
  TORCH_CHECK(handle != nullptr, "expected a tensor, got none");
  return borrow(handle);
}

std::vector<at::Tensor> borrow_all(const Handle* handles, int32_t count) {
  std::vector<at::Tensor> tensors;
  tensors.reserve(count);
  for (int32_t i = 0; i < count; i++) tensors.push_back(borrow(handles[i]));
  return tensors;
}

enum Tag : int32_t {
  tag_default = 0,      // the schema's default
  tag_none = 1,
  tag_tensor = 2,
  tag_int = 3,          // also a scalar type, a layout, a memory format
  tag_double = 4,
  tag_bool = 5,
  tag_ints = 6,
  tag_doubles = 7,
  tag_bools = 8,        // one byte each
  tag_tensors = 9,
  tag_maybe_tensors = 10, // Tensor?[]
  tag_string = 11,      // UTF-8
  tag_generator = 12,
  tag_device = 13,      // type in the low half, index in the high half
};

struct Arg {
  int32_t tag;
  int32_t count;
  union {
    int64_t i;
    double d;
    void* p;
  };
};

struct Op {
  c10::OperatorHandle handle;
  std::vector<uint8_t> wants_double;  // an int given for a float argument is widened
  size_t results;
};

c10::IValue to_value(const Op& op, const Arg& a, size_t index) {
  switch (a.tag) {
    case tag_default: {
      const auto& argument = op.handle.schema().arguments()[index];
      TORCH_CHECK(argument.default_value().has_value(), "argument '", argument.name(), "' has no default");
      return *argument.default_value();
    }
    case tag_none: return {};
    case tag_tensor: return a.p == nullptr ? c10::IValue() : c10::IValue(borrow(static_cast<Handle>(a.p)));
    case tag_int:
      if (op.wants_double[index]) return static_cast<double>(a.i);
      return a.i;
    case tag_double: return a.d;
    case tag_bool: return a.i != 0;
    case tag_ints: {
      const auto* values = static_cast<const int64_t*>(a.p);
      if (op.wants_double[index]) return std::vector<double>(values, values + a.count);
      return std::vector<int64_t>(values, values + a.count);
    }
    case tag_doubles: return std::vector<double>(static_cast<const double*>(a.p), static_cast<const double*>(a.p) + a.count);
    case tag_bools: {
      c10::List<bool> list;
      list.reserve(a.count);
      for (int32_t i = 0; i < a.count; i++) list.push_back(static_cast<const uint8_t*>(a.p)[i] != 0);
      return list;
    }
    case tag_tensors: {
      c10::List<at::Tensor> list;
      list.reserve(a.count);
      for (int32_t i = 0; i < a.count; i++) list.push_back(require(static_cast<const Handle*>(a.p)[i]));
      return list;
    }
    case tag_maybe_tensors: {
      c10::List<OptionalTensor> list;
      list.reserve(a.count);
      for (int32_t i = 0; i < a.count; i++) {
        Handle handle = static_cast<const Handle*>(a.p)[i];
        list.push_back(handle == nullptr ? OptionalTensor() : OptionalTensor(borrow(handle)));
      }
      return list;
    }
    case tag_string: return std::string(static_cast<const char*>(a.p), a.count);
    case tag_generator: {
      if (a.p == nullptr) return {};
      auto* impl = static_cast<c10::GeneratorImpl*>(a.p);
      c10::raw::intrusive_ptr::incref(impl);
      return at::Generator(c10::intrusive_ptr<c10::GeneratorImpl>::reclaim(impl));
    }
    case tag_device:
      return c10::Device(static_cast<c10::DeviceType>(static_cast<int32_t>(a.i & 0xffffffff)), static_cast<c10::DeviceIndex>(a.i >> 32));
    default: TORCH_CHECK(false, "unknown argument tag ", a.tag);
  }
}

void from_value(c10::IValue&& value, Arg& out) {
  out.count = 0;
  out.i = 0;
  if (value.isTensor()) {
    out.tag = tag_tensor;
    out.p = release(std::move(value).toTensor());
  } else if (value.isInt()) {
    out.tag = tag_int;
    out.i = value.toInt();
  } else if (value.isDouble()) {
    out.tag = tag_double;
    out.d = value.toDouble();
  } else if (value.isBool()) {
    out.tag = tag_bool;
    out.i = value.toBool() ? 1 : 0;
  } else if (value.isTensorList()) {
    auto tensors = std::move(value).toTensorVector();
    auto* handles = static_cast<Handle*>(std::malloc(sizeof(Handle) * std::max<size_t>(tensors.size(), 1)));
    TORCH_CHECK(handles != nullptr, "out of memory for ", tensors.size(), " handles");
    for (size_t i = 0; i < tensors.size(); i++) handles[i] = release(std::move(tensors[i]));
    out.tag = tag_tensors;
    out.count = static_cast<int32_t>(tensors.size());
    out.p = handles;
  } else if (value.isNone()) {
    out.tag = tag_none;
  } else {
    TORCH_CHECK(false, "a result of type ", value.tagKind(), " has no form here");
  }
}

at::Generator generator_of(c10::GeneratorImpl* impl) {
  TORCH_CHECK(impl != nullptr, "expected a generator, got none");
  c10::raw::intrusive_ptr::incref(impl);
  return at::Generator(c10::intrusive_ptr<c10::GeneratorImpl>::reclaim(impl));
}

}  // namespace

RT_EXPORT const char* rt_error() { return last_error.c_str(); }

RT_EXPORT const char* rt_version() { return TORCH_VERSION; }

// --- operators ----------------------------------------------------------------------------------------------------

// The operator's handle, which lives as long as the process; null where this libtorch has none of that name.
RT_EXPORT void* rt_op(const char* name, const char* overload) {
  void* found = nullptr;
  guarded([&] {
    auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
    if (!handle.has_value()) {
      last_error = std::string("operator not found: ") + name + (*overload ? "." : "") + overload;
      return;
    }
    const auto& schema = handle->schema();
    auto* op = new Op{*handle, {}, schema.returns().size()};
    for (const auto& argument : schema.arguments()) {
      auto type = argument.type();
      if (auto optional = type->cast<c10::OptionalType>()) type = optional->getElementType();
      if (auto list = type->cast<c10::ListType>()) type = list->getElementType();
      op->wants_double.push_back(type->kind() == c10::TypeKind::FloatType);
    }
    found = op;
  });
  return found;
}

// Calls the operator. Arguments that are not given take the schema's defaults; `capacity` results are stored, the others dropped.
RT_EXPORT int rt_call(void* op_handle, const Arg* args, int32_t count, Arg* results, int32_t capacity) {
  return guarded([&] {
    const Op& op = *static_cast<const Op*>(op_handle);
    const size_t wanted = op.wants_double.size();
    TORCH_CHECK(static_cast<size_t>(count) <= wanted, op.handle.schema().name(), " takes ", wanted, " arguments, got ", count);
    torch::jit::Stack stack;
    stack.reserve(std::max(wanted, op.results));
    for (int32_t i = 0; i < count; i++) stack.push_back(to_value(op, args[i], i));
    static const Arg use_default{};
    for (size_t i = count; i < wanted; i++) stack.push_back(to_value(op, use_default, i));
    op.handle.callBoxed(&stack);
    TORCH_CHECK(static_cast<size_t>(capacity) <= stack.size(), op.handle.schema().name(), " gives ", stack.size(), " results, not ", capacity);
    for (int32_t i = 0; i < capacity; i++) from_value(std::move(stack[i]), results[i]);
  });
}

RT_EXPORT void rt_free(void* memory) { std::free(memory); }

// --- tensors ------------------------------------------------------------------------------------------------------

RT_EXPORT void rt_release(Handle handle) {
  if (handle != nullptr) guarded([&] { c10::intrusive_ptr<c10::TensorImpl>::reclaim(handle); });
}

struct TensorInfo {
  int64_t dimensions;
  int64_t count;
  const int64_t* sizes;
  const int64_t* strides;
  int64_t storage_offset;
  int32_t dtype;
  int32_t device_type;
  int32_t device_index;
  int32_t item_size;
  int32_t contiguous;
  int32_t reserved;
};

RT_EXPORT int rt_info(Handle handle, TensorInfo* info) {
  return guarded([&] {
    at::Tensor t = require(handle);
    info->dimensions = t.dim();
    info->count = t.numel();
    info->dtype = static_cast<int32_t>(t.scalar_type());
    info->device_type = static_cast<int32_t>(t.device().type());
    info->device_index = t.device().index();
    info->item_size = static_cast<int32_t>(t.element_size());
    info->sizes = t.sizes().data();
    if (t.layout() == at::kStrided) {
      info->strides = t.strides().data();
      info->storage_offset = t.storage_offset();
      info->contiguous = t.is_contiguous();
    } else {
      info->strides = nullptr;
      info->storage_offset = 0;
      info->contiguous = 0;
    }
  });
}

RT_EXPORT void* rt_data(Handle handle) {
  void* data = nullptr;
  guarded([&] { data = require(handle).data_ptr(); });
  return data;
}

// The bytes that go when this tensor goes: those of its storage if nothing else holds it.
RT_EXPORT int64_t rt_owned_bytes(Handle handle) {
  int64_t bytes = 0;
  guarded([&] {
    if (handle != nullptr && handle->has_storage() && handle->storage().use_count() == 1) bytes = static_cast<int64_t>(handle->storage().nbytes());
  });
  return bytes;
}

RT_EXPORT int32_t rt_requires_grad(Handle handle) { return handle != nullptr && handle->requires_grad(); }

RT_EXPORT int rt_set_requires_grad(Handle handle, int32_t value) {
  return guarded([&] {
    at::Tensor t = require(handle);
    TORCH_CHECK(value || t.is_leaf(), "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach().");
    t.set_requires_grad(value != 0);
  });
}

RT_EXPORT int32_t rt_is_leaf(Handle handle) {
  int32_t leaf = 1;
  guarded([&] { leaf = require(handle).is_leaf(); });
  return leaf;
}

RT_EXPORT int rt_grad(Handle handle, Handle* grad) {
  return guarded([&] { *grad = release(require(handle).grad()); });
}

RT_EXPORT int rt_set_grad(Handle handle, Handle grad) {
  return guarded([&] { require(handle).mutable_grad() = borrow(grad); });
}

RT_EXPORT int rt_retain_grad(Handle handle) {
  return guarded([&] { require(handle).retain_grad(); });
}

RT_EXPORT int rt_set_data(Handle handle, Handle data) {
  return guarded([&] { require(handle).set_data(require(data)); });
}

RT_EXPORT int rt_is_pinned(Handle handle, int32_t* pinned) {
  return guarded([&] { *pinned = require(handle).is_pinned(); });
}

// --- autograd -----------------------------------------------------------------------------------------------------

RT_EXPORT int rt_backward(const Handle* tensors, int32_t count, const Handle* grads, int32_t grad_count, int32_t retain, int32_t create, const Handle* inputs, int32_t input_count) {
  return guarded([&] {
    torch::autograd::backward(borrow_all(tensors, count), borrow_all(grads, grad_count), retain != 0, create != 0, borrow_all(inputs, input_count));
  });
}

RT_EXPORT int rt_gradients(const Handle* outputs, int32_t count, const Handle* inputs, int32_t input_count, const Handle* grads, int32_t grad_count, int32_t retain, int32_t create, int32_t allow_unused, Handle* results) {
  return guarded([&] {
    auto gradients = torch::autograd::grad(borrow_all(outputs, count), borrow_all(inputs, input_count), borrow_all(grads, grad_count), retain != 0, create != 0, allow_unused != 0);
    for (size_t i = 0; i < gradients.size(); i++) results[i] = release(std::move(gradients[i]));
  });
}

RT_EXPORT int32_t rt_grad_enabled() { return at::GradMode::is_enabled(); }
RT_EXPORT void rt_set_grad_enabled(int32_t enabled) { at::GradMode::set_enabled(enabled != 0); }
RT_EXPORT int32_t rt_inference_enabled() { return c10::InferenceMode::is_enabled(); }

RT_EXPORT void* rt_inference_begin(int32_t enabled) {
  void* guard = nullptr;
  guarded([&] { guard = new c10::InferenceMode(enabled != 0); });
  return guard;
}

RT_EXPORT void rt_inference_end(void* guard) { delete static_cast<c10::InferenceMode*>(guard); }

// --- random state -------------------------------------------------------------------------------------------------

RT_EXPORT int rt_manual_seed(uint64_t seed) {
  return guarded([&] { at::manual_seed(seed); });
}

RT_EXPORT int rt_default_generator(int32_t device_type, int32_t device_index, void** generator) {
  return guarded([&] {
    at::Generator g = at::globalContext().defaultGenerator(c10::Device(static_cast<c10::DeviceType>(device_type), static_cast<c10::DeviceIndex>(device_index)));
    *generator = g.unsafeReleaseGeneratorImpl();
  });
}

RT_EXPORT int rt_new_generator(int32_t device_type, int32_t device_index, uint64_t seed, void** generator) {
  return guarded([&] {
    c10::Device device(static_cast<c10::DeviceType>(device_type), static_cast<c10::DeviceIndex>(device_index));
    // Any device's own kind of generator is a copy of its default one.
    at::Generator g = device.is_cpu() ? at::detail::createCPUGenerator(seed) : at::globalContext().defaultGenerator(device).clone();
    std::lock_guard<std::mutex> lock(g.mutex());
    g.set_current_seed(seed);
    *generator = g.unsafeReleaseGeneratorImpl();
  });
}

RT_EXPORT void rt_release_generator(c10::GeneratorImpl* generator) {
  if (generator != nullptr) guarded([&] { c10::intrusive_ptr<c10::GeneratorImpl>::reclaim(generator); });
}

RT_EXPORT int rt_generator_set_seed(c10::GeneratorImpl* generator, uint64_t seed) {
  return guarded([&] {
    at::Generator g = generator_of(generator);
    std::lock_guard<std::mutex> lock(g.mutex());
    g.set_current_seed(seed);
  });
}

// A seed from the system's own randomness, which the generator then has.
RT_EXPORT int rt_generator_seed(c10::GeneratorImpl* generator, uint64_t* seed) {
  return guarded([&] {
    at::Generator g = generator_of(generator);
    std::lock_guard<std::mutex> lock(g.mutex());
    *seed = g.seed();
  });
}

RT_EXPORT int rt_generator_initial_seed(c10::GeneratorImpl* generator, uint64_t* seed) {
  return guarded([&] {
    at::Generator g = generator_of(generator);
    std::lock_guard<std::mutex> lock(g.mutex());
    *seed = g.current_seed();
  });
}

RT_EXPORT int rt_generator_state(c10::GeneratorImpl* generator, Handle* state) {
  return guarded([&] {
    at::Generator g = generator_of(generator);
    std::lock_guard<std::mutex> lock(g.mutex());
    *state = release(g.get_state());
  });
}

RT_EXPORT int rt_generator_set_state(c10::GeneratorImpl* generator, Handle state) {
  return guarded([&] {
    at::Generator g = generator_of(generator);
    std::lock_guard<std::mutex> lock(g.mutex());
    g.set_state(require(state));
  });
}

// --- threads, memory, devices -------------------------------------------------------------------------------------

RT_EXPORT int32_t rt_threads() { return at::get_num_threads(); }

// libtorch's count, and that of an OpenBLAS behind it, which has threads of its own.
RT_EXPORT int rt_set_threads(int32_t count) {
  return guarded([&] {
    at::set_num_threads(count);
    using Set = void (*)(int);
    if (auto set = reinterpret_cast<Set>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) set(count);
  });
}

RT_EXPORT int32_t rt_interop_threads() { return static_cast<int32_t>(at::get_num_interop_threads()); }

RT_EXPORT int rt_set_interop_threads(int32_t count) {
  return guarded([&] { at::set_num_interop_threads(count); });
}

// Large tensors come and go every step; giving their pages back to the system each time costs more than keeping them.
RT_EXPORT void rt_keep_freed_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 0x7fffffff);
#endif
}

RT_EXPORT int32_t rt_cuda_available() {
  int32_t available = 0;
  guarded([&] { available = at::globalContext().hasCUDA() ? 1 : 0; });
  return available;
}

RT_EXPORT int32_t rt_cuda_count() {
  int32_t count = 0;
  guarded([&] { count = at::globalContext().hasCUDA() ? static_cast<int32_t>(at::detail::getCUDAHooks().getNumGPUs()) : 0; });
  return count;
}

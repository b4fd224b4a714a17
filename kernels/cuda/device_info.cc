#include "kernels/cuda/device_info.h"

#include <dlfcn.h>

#include <array>
#include <memory>
#include <utility>

#include "kernels/cuda/context.h"

namespace strait::kernels::cuda {
namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string pci_id() {
  int device = 0;
  char id[32] = {};
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaDeviceGetPCIBusId(id, sizeof id, device), "cudaDeviceGetPCIBusId");
  return id;
}

/// The driver's management library (NVML), opened at run time: machines that only build have
/// neither the library nor its header. Calls return 0 on success; a device is an opaque pointer.
class Nvml {
 public:
  /// Null where it is missing or refuses.
  static const Nvml* get() {
    static const std::unique_ptr<const Nvml> library = open();
    return library.get();
  }

  DeviceStatus status() const {
    DeviceStatus status;
    status.known = true;
    unsigned clock = 0, milliwatts = 0, degrees = 0;
    unsigned long long reasons = 0;
    if (clock_(device_, kClockSm, &clock) == 0) {
      status.clock_mhz = static_cast<int>(clock);
    }
    if (power_(device_, &milliwatts) == 0) status.power_w = milliwatts * 1e-3;
    if (temperature_(device_, kTemperatureGpu, &degrees) == 0) {
      status.temperature_c = static_cast<int>(degrees);
    }
    if (throttle_(device_, &reasons) == 0) status.throttle = reasons_text(reasons);
    return status;
  }

  std::string driver() const {
    char text[96] = {};
    return driver_(text, sizeof text) == 0 ? text : "";
  }

 private:
  static constexpr int kClockSm = 1, kTemperatureGpu = 0;

  static std::unique_ptr<const Nvml> open() {
    auto nvml = std::make_unique<Nvml>();
    void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library || !nvml->find(library) || nvml->init_() != 0) return nullptr;
    const std::string id = pci_id();
    if (nvml->by_id_(id.c_str(), &nvml->device_) != 0) return nullptr;
    return nvml;
  }

  template <class Function>
  static bool find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
  }

  bool find(void* library) {
    return find(library, "nvmlInit_v2", init_) &&
           find(library, "nvmlDeviceGetHandleByPciBusId_v2", by_id_) &&
           find(library, "nvmlSystemGetDriverVersion", driver_) &&
           find(library, "nvmlDeviceGetClockInfo", clock_) &&
           find(library, "nvmlDeviceGetPowerUsage", power_) &&
           find(library, "nvmlDeviceGetTemperature", temperature_) &&
           find(library, "nvmlDeviceGetCurrentClocksThrottleReasons", throttle_);
  }

  static std::string reasons_text(unsigned long long reasons) {
    constexpr std::array<std::pair<unsigned long long, const char*>, 6> kNames = {{
        {0x4, "power cap"},
        {0x8, "hardware slowdown"},
        {0x10, "sync boost"},
        {0x20, "software thermal"},
        {0x40, "hardware thermal"},
        {0x80, "power brake"},
    }};
    std::string text;
    for (const auto& [bit, name] : kNames) {
      if ((reasons & bit) == 0) continue;
      text += (text.empty() ? "" : ", ") + std::string(name);
    }
    return text;
  }

  int (*init_)() = nullptr;
  int (*by_id_)(const char*, void**) = nullptr;
  int (*driver_)(char*, unsigned) = nullptr;
  int (*clock_)(void*, int, unsigned*) = nullptr;
  int (*power_)(void*, unsigned*) = nullptr;
  int (*temperature_)(void*, int, unsigned*) = nullptr;
  int (*throttle_)(void*, unsigned long long*) = nullptr;
  void* device_ = nullptr;
};

}  // namespace

DeviceInfo device_info() {
  int device = 0, runtime = 0;
  cudaDeviceProp properties = {};
  DeviceInfo info;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  check_cuda(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  check_cuda(cudaMemGetInfo(&info.free_bytes, &info.memory_bytes), "cudaMemGetInfo");
  info.name = properties.name;
  info.runtime = version_text(runtime);
  if (const Nvml* nvml = Nvml::get()) info.driver = nvml->driver();
  info.id = pci_id();
  info.bf16_flops_per_second = bf16_peak(info.name);
  return info;
}

DeviceStatus device_status() {
  const Nvml* nvml = Nvml::get();
  return nvml ? nvml->status() : DeviceStatus{};
}

}  // namespace strait::kernels::cuda

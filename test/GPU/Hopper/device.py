"""Runs kernels on a device, through the CUDA driver alone: the counterpart of product_numbers.Modelled."""
import ctypes

import numpy as np

BFLOAT16, SWIZZLE_128B, L2_PROMOTION_128B = 9, 3, 2
MAX_DYNAMIC_SHARED_BYTES, MULTIPROCESSORS = 8, 16


class Driver:
    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        self("cuInit", 0)
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self("cuDeviceGet", ctypes.byref(device), 0)
        name = ctypes.create_string_buffer(256)
        self("cuDeviceGetName", name, 256, device)
        self.name = name.value.decode()
        count = ctypes.c_int()
        self("cuDeviceGetAttribute", ctypes.byref(count), MULTIPROCESSORS, device)
        self.multiprocessors = count.value
        self("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self("cuCtxSetCurrent", context)

    def __call__(self, name, *arguments):
        result = self.library[name](*arguments)
        if result:
            text = ctypes.c_char_p()
            self.library["cuGetErrorName"](result, ctypes.byref(text))
            raise SystemExit(f"{name}: {text.value.decode() if text.value else result}")


class Device:
    def __init__(self, driver, ptx):
        self.driver, self.functions, self.sizes = driver, {}, {}
        self.module = ctypes.c_void_p()
        driver("cuModuleLoadData", ctypes.byref(self.module), ptx.encode() + b"\0")

    def add(self, array):
        address = ctypes.c_uint64()
        size = max(array.nbytes, 16)
        self.driver("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        self.sizes[address.value] = size
        data = np.ascontiguousarray(array)
        self.driver("cuMemcpyHtoD_v2", address, data.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(data.nbytes))
        return address.value

    def tensor_map(self, address, sizes, strides, box):
        memory = (ctypes.c_uint8 * 192)()
        start = -ctypes.addressof(memory) % 64
        tensor = (ctypes.c_uint8 * 128).from_buffer(memory, start)
        array = lambda kind, values: (kind * len(values))(*values)
        self.driver(
            "cuTensorMapEncodeTiled", tensor, BFLOAT16, len(sizes), ctypes.c_void_p(address),
            array(ctypes.c_uint64, sizes), array(ctypes.c_uint64, strides), array(ctypes.c_uint32, box),
            array(ctypes.c_uint32, [1] * len(sizes)), 0, SWIZZLE_128B, L2_PROMOTION_128B, 0,
        )
        return tensor

    def function(self, name, shared_bytes):
        if name not in self.functions:
            function = ctypes.c_void_p()
            self.driver("cuModuleGetFunction", ctypes.byref(function), self.module, name.encode())
            self.driver("cuFuncSetAttribute", function, MAX_DYNAMIC_SHARED_BYTES, shared_bytes)
            self.functions[name] = function
        return self.functions[name]

    def launch(self, name, params, threads, blocks, shared_bytes):
        self.start(name, params, threads, blocks, shared_bytes)
        self.driver("cuCtxSynchronize")

    def start(self, name, params, threads, blocks, shared_bytes):
        values = [p if not isinstance(p, int) else ctypes.c_uint64(p) for p in params]
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
        self.driver("cuLaunchKernel", self.function(name, shared_bytes), blocks, 1, 1, threads, 1, 1, shared_bytes, None,
                    pointers, None)

    def fetch(self, address, array):
        self.driver("cuMemcpyDtoH_v2", array.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint64(address),
                    ctypes.c_size_t(array.nbytes))

    def writes_of(self, address):
        return None

    def time(self, start, count):
        """Microseconds of one of `count` calls of `start`, from events around all of them."""
        events = [ctypes.c_void_p(), ctypes.c_void_p()]
        for event in events:
            self.driver("cuEventCreate", ctypes.byref(event), 0)
        self.driver("cuEventRecord", events[0], None)
        for _ in range(count):
            start()
        self.driver("cuEventRecord", events[1], None)
        self.driver("cuEventSynchronize", events[1])
        milliseconds = ctypes.c_float()
        self.driver("cuEventElapsedTime", ctypes.byref(milliseconds), *events)
        for event in events:
            self.driver("cuEventDestroy_v2", event)
        return milliseconds.value * 1000 / count

    def close(self):
        for address in self.sizes:
            self.driver("cuMemFree_v2", ctypes.c_uint64(address))
        self.driver("cuModuleUnload", self.module)

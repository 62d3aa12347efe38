"""Programs that moe-compile made with --emit=shared, through their C interface (include/moe/Runtime/Runtime.h).

A function is called with NumPy arrays by name and gives arrays by name. bf16 is uint16 here, its upper half of a
float32.
"""
import ctypes
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int32, c_int64, c_uint32, c_uint64, c_uint8, c_void_p

import numpy as np

MAX_RANK, MESSAGE_SIZE, DATA = 8, 1024, 0
TYPES = [np.float32, np.float16, np.uint16, np.int32, np.int64, np.int8, np.uint8, np.bool_, np.float64]
BF16 = 2


class ValueInfo(Structure):
    _fields_ = [("name", c_char_p), ("element_type", c_uint32), ("role", c_uint32), ("rank", c_uint32),
                ("is_index", c_uint32), ("shape", c_int64 * MAX_RANK), ("window", c_int64)]


class FunctionInfo(Structure):
    _fields_ = [("name", c_char_p), ("summary", c_char_p), ("num_inputs", c_uint32), ("num_outputs", c_uint32),
                ("inputs", POINTER(ValueInfo)), ("outputs", POINTER(ValueInfo)), ("entry", c_void_p)]


class ProgramInfo(Structure):
    _fields_ = [("struct_size", c_uint32), ("version", c_uint32), ("compiler", c_char_p), ("cpu", c_char_p),
                ("features", c_char_p), ("options", c_char_p), ("build_id", c_uint8 * 16), ("weights_size", c_uint64),
                ("num_functions", c_uint32), ("num_parameters", c_uint32), ("functions", POINTER(FunctionInfo))]


class OpenOptions(Structure):
    _fields_ = [("struct_size", c_uint32), ("verify", c_uint32), ("program", c_void_p), ("weights", c_char_p),
                ("progress", c_void_p), ("progress_user", c_void_p), ("driver", c_char_p)]


class Tensor(Structure):
    _fields_ = [("data", c_void_p), ("element_type", c_uint32), ("rank", c_uint32), ("shape", c_int64 * MAX_RANK)]


class Measurement(Structure):
    _fields_ = [("struct_size", c_uint32), ("graph", c_uint32), ("warmups", c_int64), ("runs", c_int64),
                ("flush_bytes", c_int64), ("milliseconds", POINTER(c_float))]


class SessionOptions(Structure):
    _fields_ = [("struct_size", c_uint32), ("threads", c_int32), ("context", c_int64), ("sequences", c_int64),
                ("record_load", c_uint32), ("profile", c_uint32), ("poison_cache", c_uint32), ("reserved", c_uint32),
                ("piece", c_int64)]


class ProfileEntry(Structure):
    _fields_ = [("kernel", c_char_p), ("calls", c_uint64), ("nanoseconds", c_uint64)]


class ProgramError(Exception):
    """What the program refused, in its own words."""


def device_name(driver=None):
    """Name of the first device of this CUDA driver; None where there is no driver."""
    try:
        library = ctypes.CDLL(driver or "libcuda.so.1")
    except OSError:
        return None
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    for function, arguments in (("cuInit", (0,)), ("cuDeviceGet", (byref(device), 0)),
                                ("cuDeviceGetName", (name, 256, device))):
        if library[function](*arguments):
            return None
    return name.value.decode()


class Program:
    """One library, opened, with one session."""

    def __init__(self, path, driver=None, profile=False):
        self.library = ctypes.CDLL(path)
        self.library.moe_model_program.restype = POINTER(ProgramInfo)
        self.library.moe_session_message.restype = c_char_p
        self.model, self.session = c_void_p(), c_void_p()
        message = ctypes.create_string_buffer(MESSAGE_SIZE)
        options = OpenOptions(struct_size=ctypes.sizeof(OpenOptions), driver=driver.encode() if driver else None)
        session = SessionOptions(struct_size=ctypes.sizeof(SessionOptions), profile=profile)
        size = ctypes.c_size_t(MESSAGE_SIZE)
        if (self.library.moe_open(byref(options), byref(self.model), message, size)
                or self.library.moe_session_create(self.model, byref(session), byref(self.session), message, size)):
            raise ProgramError(message.value.decode())
        info = self.library.moe_model_program(self.model).contents
        self.options = info.options.decode()
        self.functions = {info.functions[i].name.decode(): info.functions[i] for i in range(info.num_functions)}

    def close(self):
        self.library.moe_session_destroy(self.session)
        self.library.moe_close(self.model)

    def call(self, function, inputs):
        """The results of one call."""
        return self._run(function, inputs, self.library.moe_session_call)

    def profile(self, function, inputs):
        """Name, calls and nanoseconds of each kernel in the second of two calls; of a session made with `profile`."""
        self.call(function, inputs)
        self.library.moe_session_clear(self.session)
        self.call(function, inputs)
        entry, entries = ProfileEntry(), []
        while not self.library.moe_session_profile(self.session, ctypes.c_size_t(len(entries)), byref(entry)):
            entries.append((entry.kernel.decode(), entry.calls, entry.nanoseconds))
        return entries

    def measure(self, function, inputs, graph, warmups, runs, flush_bytes):
        """The results of the last of so many runs, and the milliseconds of each that was timed."""
        times = (c_float * runs)()
        how = Measurement(ctypes.sizeof(Measurement), graph, warmups, runs, flush_bytes, times)
        return self._run(function, inputs, self.library.moe_session_measure, byref(how)), list(times)

    def _run(self, function, inputs, entry, *more):
        info = self.functions[function]
        wanted = [value for value in info.inputs[: info.num_inputs] if value.role == DATA]
        given = [value for value in info.outputs[: info.num_outputs] if value.role == DATA]
        # Arrays stay alive until the call has ended.
        arrays = [np.ascontiguousarray(inputs[value.name.decode()]) for value in wanted]
        tensors = (Tensor * max(len(arrays), 1))(*map(self._tensor, wanted, arrays))
        results = (Tensor * max(len(given), 1))()
        status = entry(self.session, function.encode(), tensors, ctypes.c_size_t(len(arrays)), results,
                       ctypes.c_size_t(len(given)), *more)
        if status:
            raise ProgramError(self.library.moe_session_message(self.session).decode())
        return {value.name.decode(): self._array(result) for value, result in zip(given, results)}

    @staticmethod
    def _tensor(value, array):
        if array.dtype != TYPES[value.element_type]:
            raise ProgramError(f"input '{value.name.decode()}' is of {array.dtype}, expected "
                               f"{np.dtype(TYPES[value.element_type])}")
        shape = (c_int64 * MAX_RANK)(*array.shape)
        return Tensor(array.ctypes.data, value.element_type, array.ndim if not value.is_index else 0, shape)

    @staticmethod
    def _array(tensor):
        kind, shape = np.dtype(TYPES[tensor.element_type]), tuple(tensor.shape[: tensor.rank])
        count = int(np.prod(shape, dtype=np.int64))
        if not count:
            return np.zeros(shape, kind)
        return np.frombuffer(ctypes.string_at(tensor.data, count * kind.itemsize), kind).reshape(shape)

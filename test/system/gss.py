"""The client's side of GSSAPI by hand, with the library of MIT Kerberos."""

import ctypes

LIBRARY = ctypes.CDLL("libgssapi_krb5.so.2")
MUTUAL, SEQUENCE, INTEGRITY, CONTINUE = 2, 8, 32, 1


class Buffer(ctypes.Structure):
    _fields_ = [("length", ctypes.c_size_t), ("value", ctypes.c_void_p)]

    @classmethod
    def of(cls, data):
        kept = ctypes.create_string_buffer(data, len(data) + 1)
        buffer = cls(len(data), ctypes.cast(kept, ctypes.c_void_p))
        buffer.kept = kept
        return buffer

    def data(self):
        return ctypes.string_at(self.value, self.length) if self.length else b""


class Client:
    """Of the tickets that KRB5CCNAME names."""

    def __init__(self, service):
        self.context, self.name, minor = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_uint32()
        kind = ctypes.c_void_p.in_dll(LIBRARY, "GSS_C_NT_HOSTBASED_SERVICE")
        assert LIBRARY.gss_import_name(ctypes.byref(minor), ctypes.byref(Buffer.of(service.encode())), kind, ctypes.byref(self.name)) == 0

    def step(self, challenge):
        """What is to be said, and whether the context is there."""
        minor, out, said = ctypes.c_uint32(), Buffer(), Buffer.of(challenge)
        major = LIBRARY.gss_init_sec_context(ctypes.byref(minor), None, ctypes.byref(self.context), self.name, None, ctypes.c_uint32(MUTUAL | SEQUENCE | INTEGRITY),
                                             ctypes.c_uint32(0), None, ctypes.byref(said), None, ctypes.byref(out), None, None)
        assert major in (0, CONTINUE), (hex(major & 0xffffffff), minor.value)
        return out.data(), major == 0

    def unwrap(self, data):
        minor, out = ctypes.c_uint32(), Buffer()
        assert LIBRARY.gss_unwrap(ctypes.byref(minor), self.context, ctypes.byref(Buffer.of(data)), ctypes.byref(out), None, None) == 0
        return out.data()

    def wrap(self, data):
        minor, out = ctypes.c_uint32(), Buffer()
        assert LIBRARY.gss_wrap(ctypes.byref(minor), self.context, 0, 0, ctypes.byref(Buffer.of(data)), None, ctypes.byref(out)) == 0
        return out.data()

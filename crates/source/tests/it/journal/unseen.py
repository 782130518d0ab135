# Writes to a file in ways of which nobody is told while it stays open: one byte for each line of input, which is then answered.
import ctypes, mmap, os, platform, struct, sys

how, path = sys.argv[1], sys.argv[2]
file = os.open(path, os.O_RDWR)

if how.startswith("mapping"):
    memory = mmap.mmap(file, 4096)
    if how == "mapping-alone":
        # Python keeps a handle of its own for the mapping; only the mapping shall be left.
        os.close(file)
        for name in os.listdir("/proc/self/fd"):
            try:
                if os.readlink("/proc/self/fd/" + name) == path:
                    os.close(int(name))
            except OSError:
                pass

    def write(byte):
        memory[0:1] = byte
        memory.flush()
else:
    libc = ctypes.CDLL(None, use_errno=True)
    setup, submit, events = (206, 209, 208) if platform.machine() == "x86_64" else (0, 2, 4)
    context = ctypes.c_ulong(0)
    assert libc.syscall(setup, 1, ctypes.byref(context)) == 0
    data = ctypes.create_string_buffer(1)

    def write(byte):
        data[0] = byte
        # data, key, flags, operation (write), priority, file, buffer, bytes, offset, reserved, flags, event file
        block = ctypes.create_string_buffer(
            struct.pack("=QIiHhIQQqQII", 0, 0, 0, 1, 0, file, ctypes.addressof(data), 1, 0, 0, 0, 0)
        )
        blocks = (ctypes.c_void_p * 1)(ctypes.addressof(block))
        assert libc.syscall(submit, context, ctypes.c_long(1), blocks) == 1
        done = ctypes.create_string_buffer(32)
        assert libc.syscall(events, context, ctypes.c_long(1), ctypes.c_long(1), done, None) == 1

print("ready", flush=True)
for line in sys.stdin:
    write(line[0].encode())
    print("done", flush=True)
if how == "mapping-alone":
    os._exit(0)

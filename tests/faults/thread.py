"""Holds or ends one thread of a process from outside, by ptrace: thread.py hold|end PID NAME.

"hold" stops the thread, prints "held", and lets it go when standard input closes. "end" makes the thread call exit(2), which
ends the thread alone and runs nothing of the program. x86-64 alone.
"""

import ctypes
import os
import signal
import sys
import time

CONT, DETACH, SEIZE, INTERRUPT = 7, 17, 0x4206, 0x4207
GETREGS, SETREGS = 12, 13
WALL = 0x40000000
SYS_EXIT = 60

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


class Registers(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_ulonglong)
        for name in (
            "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
            "fs_base gs_base ds es fs gs"
        ).split()
    ]


def ptrace(request, thread, data=None):
    if libc.ptrace(request, thread, None, data) != 0:
        number = ctypes.get_errno()
        sys.exit(f"ptrace {request}: {os.strerror(number)}")


def thread_of(process, name):
    for thread in os.listdir(f"/proc/{process}/task"):
        with open(f"/proc/{process}/task/{thread}/comm") as comm:
            if comm.read().strip() == name:
                return int(thread)
    sys.exit(f"no thread {name}")


def stop(thread):
    ptrace(SEIZE, thread)
    ptrace(INTERRUPT, thread)
    os.waitpid(thread, WALL)


def main():
    action, process, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    thread = thread_of(process, name)
    stop(thread)
    if action == "hold":
        print("held", flush=True)
        sys.stdin.read()
        ptrace(DETACH, thread)
        return
    # A thread that waits in the kernel stands behind a system call instruction, two bytes long.
    registers = Registers()
    while True:
        ptrace(GETREGS, thread, ctypes.byref(registers))
        if registers.orig_rax < 1 << 32:
            break
        # It was computing: it is tried again a little later.
        ptrace(CONT, thread)
        time.sleep(0.05)
        ptrace(INTERRUPT, thread)
        os.waitpid(thread, WALL)
    registers.rip -= 2
    registers.rax = SYS_EXIT
    registers.rdi = 0
    # So the kernel does not restart the call that was interrupted.
    registers.orig_rax = 2**64 - 1
    ptrace(SETREGS, thread, ctypes.byref(registers))
    ptrace(CONT, thread)
    print("ended", flush=True)
    # The kernel gives the thread back to its own process when this one is gone.
    os.waitpid(thread, WALL)


signal.signal(signal.SIGPIPE, signal.SIG_DFL)
main()

"""
OpenSSL's clock, in the hands of a test.

OpenSSL times its retransmissions itself and asks gettimeofday() what time it is; there
is no other way to tell it.  So the place where the library keeps the address of that
function (an entry of its global offset table) is made to point here, for as long
as a test lasts.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.bindings import _rust

_LIBRARY: Final = Path(_rust.__file__)

_LOAD: Final = 1
_DYNAMIC: Final = 2
_STRTAB, _SYMTAB, _RELA, _RELASZ, _JMPREL, _PLTRELSZ = 5, 6, 7, 8, 23, 2

_PROT_READ_WRITE: Final = mmap.PROT_READ | mmap.PROT_WRITE

_Function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_long), ctypes.c_void_p)


class ELF:
    """As much of a 64-bit shared library as tells where its imports are kept."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        (offset,) = struct.unpack_from("<Q", content, 32)
        size, count = struct.unpack_from("<HH", content, 54)
        headers = [struct.unpack_from("<IIQQQQ", content, offset + size * i) for i in range(count)]
        self._loaded = [
            (vaddr, at, length) for kind, _, at, vaddr, _, length in headers if kind == _LOAD
        ]
        [(start, length)] = [
            (at, length) for kind, _, at, _, _, length in headers if kind == _DYNAMIC
        ]
        self._dynamic = dict(
            struct.unpack_from("<QQ", content, start + at) for at in range(0, length, 16)
        )

    def _offset(self, address: int) -> int:
        for vaddr, at, length in self._loaded:
            if vaddr <= address < vaddr + length:
                return int(at + address - vaddr)
        raise LookupError(hex(address))

    def slots(self, name: bytes) -> Iterator[int]:
        """Where the addresses of an imported function are kept, from the library's start."""
        symbols = self._offset(self._dynamic[_SYMTAB])
        names = self._offset(self._dynamic[_STRTAB])
        for table, size in ((_RELA, _RELASZ), (_JMPREL, _PLTRELSZ)):
            if table not in self._dynamic:
                continue
            start = self._offset(self._dynamic[table])
            for at in range(start, start + self._dynamic[size], 24):
                place, info = struct.unpack_from("<QQ", self._content, at)
                if info >> 32:
                    (label,) = struct.unpack_from("<I", self._content, symbols + 24 * (info >> 32))
                    end = self._content.index(b"\0", names + label)
                    if self._content[names + label : end] == name:
                        yield place


def _base() -> int:
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(_LIBRARY.resolve())):
            return int(line.partition("-")[0], 16)
    raise LookupError(_LIBRARY)


def _poke(address: int, value: int) -> int:
    page = address & -mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, _PROT_READ_WRITE):
        raise OSError(ctypes.get_errno(), "mprotect")
    slot = ctypes.c_uint64.from_address(address)
    before = int(slot.value)
    slot.value = value
    return before


@contextmanager
def opensslClock(seconds: Callable[[], float]) -> Iterator[None]:
    """
    Let OpenSSL take the time from a test's clock.
    """

    def gettimeofday(result: ctypes._Pointer[ctypes.c_long], zone: int | None) -> int:
        # Not 0, which OpenSSL takes for no time at all.
        now = 1_000_000_000 + seconds()
        result[0] = int(now)
        result[1] = int(now % 1 * 1_000_000)
        return 0

    function = _Function(gettimeofday)
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    base = _base()
    slots = [base + each for each in ELF(_LIBRARY.read_bytes()).slots(b"gettimeofday")]
    assert slots
    before = [_poke(each, address) for each in slots]
    try:
        yield
    finally:
        for each, value in zip(slots, before, strict=True):
            _poke(each, value)

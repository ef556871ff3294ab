"""
The tests of Twisted's that this reactor is not to pass, and why.

docs/reference/reactor.md says the same in words.
"""

from __future__ import annotations

from typing import Final

_AT_ONCE: Final = (
    "what the kernel takes is written at once, so a producer is paused by what the kernel "
    "does not take, not by what one turn of the reactor wrote"
)
_NO_ROOM: Final = (
    "without a free descriptor a port rests and the connection waits in the kernel; Twisted's "
    "accepts it on a descriptor kept for that, and closes it"
)
_GOODBYE: Final = (
    "the goodbye of Twisted's TLS is written at once, ahead of the reset, and not thrown away "
    "with what waits"
)
_NO_DELAY: Final = "TCP_NODELAY is on, as with uvloop; setTcpNoDelay(False) turns it off"
_DUPLICATE: Final = (
    "a descriptor is watched through a duplicate, so nobody notices when it is another's; "
    "Twisted leaves the test out on epoll, where that is so, too"
)
_PRIVATE: Final = "it looks into _tempDataBuffer, an attribute of Twisted's own transports"

EXCEPTIONS: Final = {
    "test_fdset.ReactorFDSetTestsBuilder.test_lostFileDescriptor": _DUPLICATE,
    "test_tcp.AdoptStreamConnectionTestsBuilder.test_streamingProducer": _AT_ONCE,
    "test_tcp.TCPTransportTestsBuilder.test_streamingProducer": _AT_ONCE,
    "test_tcp.TCPFDPortTestsBuilder.test_closePeerOnEMFILE": _NO_ROOM,
    "test_tcp.TCPPortTestsBuilder.test_closePeerOnEMFILE": _NO_ROOM,
    "test_unix.UNIXFDPortTestsBuilder.test_closePeerOnEMFILE": _NO_ROOM,
    "test_unix.UNIXPortTestsBuilder.test_closePeerOnEMFILE": _NO_ROOM,
    "test_tls.TLSPortTestsBuilder.test_closePeerOnEMFILE": _NO_ROOM,
    "test_tls.AbortSSLConnectionTests.test_serverAbortsConnectionThenLosesConnection": _GOODBYE,
    "test_tls.AbortSSLConnectionTests.test_serverAbortsConnectionTwice": _GOODBYE,
    "twisted.test.test_tcp.HalfCloseTests.testCloseWriteCloser": _PRIVATE,
    "twisted.test.test_tcp.LoopbackTests.test_tcpNoDelay": _NO_DELAY,
}
"""By the name of the test, without the reactor's."""

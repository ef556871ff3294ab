"""
The demonstration that `make run` starts: what demo.toml describes.
"""

from pathlib import Path

from twisted.application import service

from myserv.app import makeServer

print(
    """
    myserv serves on loopback.  In another terminal, try:

      echo      printf 'hello\\n' | nc -N 127.0.0.1 7007
                printf 'hello\\n' | nc -u -w1 127.0.0.1 7007
                printf 'hello\\n' | nc -N -U /tmp/myserv-demo.sock
      a quote   nc 127.0.0.1 7017
      the time  nc 127.0.0.1 7013
      a stream  nc 127.0.0.1 7019 | head -n 5
      TLS       openssl s_client -quiet -connect 127.0.0.1:7443

    tac/demo.toml says what listens where.  Ctrl-C stops it.
""",
    flush=True,
)

application = service.Application("demo")
makeServer(Path(__file__).with_name("demo.toml")).setServiceParent(application)

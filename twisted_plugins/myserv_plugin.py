"""What twistd finds.  Static names only: twistd caches what this file says."""

from twisted.application.reactors import Reactor

from myserv.tap import MyservCommand, TwistdCommand

uvloop = Reactor("uvloop", "myserv.reactor.core", "uvloop's loop and its own connections.")
myserv = MyservCommand()
chargen = TwistdCommand("chargen", "Send characters without end (RFC 864).", "myserv-chargen")
daytime = TwistdCommand("daytime", "Tell the day and time in words (RFC 867).", "myserv-daytime")
discard = TwistdCommand("discard", "Throw away what arrives (RFC 863).", "myserv-discard")
echo = TwistdCommand("echo", "Send back what arrives (RFC 862).", "myserv-echo")
qotd = TwistdCommand("qotd", "Tell a quote (RFC 865).", "myserv-qotd")
time = TwistdCommand("time", "Tell the time as a number (RFC 868).", "myserv-time")

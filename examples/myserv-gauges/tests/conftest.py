"""A test that leaves something behind in the reactor fails."""

pytest_plugins = ["myserv.testing.fixtures"]

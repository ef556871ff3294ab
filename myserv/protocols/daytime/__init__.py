"""
Daytime (RFC 867): the date and time, for people.
"""

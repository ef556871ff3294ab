"""
Time (RFC 868): the time, for programs.
"""

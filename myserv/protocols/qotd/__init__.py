"""
Quote of the day (RFC 865): one short message.
"""

"""
Servers side by side on one machine; docs/discussion/speed.md says what is measured.
"""

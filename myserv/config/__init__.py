"""
The configuration file: TOML in, typed values out, every error at its place.

C{positions} knows where each key stands in the text, C{document} reads a file
and puts that place in front of each problem, C{model} says what may be in it.
"""
